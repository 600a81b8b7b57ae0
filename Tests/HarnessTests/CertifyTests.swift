import Certificates
import Foundation
import Harness
import Testing
import TestSupport

/// The command's certificate.
@Suite(.serialized, .needsCompiler) struct CertifyTests: RunsCommand {
  @Test("a certificate says what was tried, with what, and what was left out")
  func written() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile("two-symbols", in: folder.path)
    let file = Certificate.path(beside: bad)
    let run = try run(
      [bad, "--level", "2", "--option", "level=3", "--seeds", "2", "--certificate", file])
    #expect(run.code == 1, "\(run)")
    guard case .matching(let certificate) = Certificate.read(beside: bad) else {
      Issue.record("\(Certificate.read(beside: bad))")
      return
    }
    #expect(certificate.results.map(\.test) == Catalogue.all.map(\.id))
    let failed = certificate.results.filter { $0.outcome == "failed" }
    #expect(failed.map(\.test) == ["load/one-symbol"] && !failed[0].reason.isEmpty)
    #expect(!certificate.isGood && certificate.count("passed") > 15)
    let skipped = certificate.results.first { $0.test == "abi/qemu-bound" }
    #expect(skipped?.outcome == "skipped" && skipped?.reason.isEmpty == false)
    #expect(certificate.results.last?.reason == "not in level 2")
    #expect(certificate.level == 2 && certificate.options == ["level=3"])
    #expect(certificate.seeds == [1], "it ended with the first")
    #expect(certificate.name == "two-symbols" && certificate.wireFormat == "sample/1")
    #expect(certificate.date.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil)
    #expect(certificate.machine == .here && certificate.machine.libc.contains("."))
    // Another build is another matter.
    _ = try Compiler.compile("two-symbols", in: folder.path, flags: ["-DVERSION=\"9\""])
    guard case .stale = Certificate.read(beside: bad) else {
      Issue.record("a certificate of other bytes counts")
      return
    }
  }

  @Test("a host shows the certificate of these very bytes, and says when it is of others")
  func shown() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    func told() throws -> String {
      let show = try start(
        Lab.executableFolder + "/multifd", ["plugins", "show", "good", "--plugin-dir", folder.path])
      #expect(show.code == 0, "\(show)")
      return show.output
    }
    #expect(try told().contains("no certificate of multifd-harness beside it"))
    let run = try run([good, "--level", "2", "--certificate", Certificate.path(beside: good)])
    #expect(run.code == 0, "\(run)")
    #expect(try told().contains("level 2, multifd-harness"))
    _ = try Compiler.compile("good", in: folder.path, flags: ["-DVERSION=\"9\""])
    #expect(try told().contains("other bytes of this name were: level 2"))
  }

  @Test("pages of a guest are told: which bytes, and how many pages")
  func corpus() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let file = Certificate.path(beside: good), image = folder("guest.ram")
    try Data(repeating: 7, count: 3 * 4096).write(to: URL(filePath: image))
    let arguments = [good, "--quick", "--only", "roundtrip/basic", "--certificate", file]
    #expect(try run(arguments).code == 0)
    guard case .matching(let made) = Certificate.read(beside: good) else {
      Issue.record("\(Certificate.read(beside: good))")
      return
    }
    #expect(made.corpus == nil)
    #expect(try run(arguments + ["--corpus", image]).code == 0)
    guard case .matching(let real) = Certificate.read(beside: good) else {
      Issue.record("\(Certificate.read(beside: good))")
      return
    }
    let bytes = try #require(Fingerprint(of: image))
    #expect(real.corpus == Certificate.Corpus(file: "guest.ram", bytes: bytes))
    #expect(real.corpus?.pages == 3)

    let show = ["plugins", "show", "good", "--plugin-dir", folder.path]
    let text = try start(Lab.executableFolder + "/multifd", show)
    let told = "level 5, 3 pages of guest.ram (sha256 \(bytes.sha256.prefix(12))…), multifd-harness"
    #expect(text.output.contains(told), "\(text)")
    let json = try start(Lab.executableFolder + "/multifd", show + ["--json"]).output
    let shown = try #require(
      try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let certificate = try #require(shown["certificate"] as? [String: Any])
    let corpus = try #require(certificate["corpus"] as? [String: Any])
    #expect(corpus["file"] as? String == "guest.ram" && corpus["pages"] as? Int == 3)
    #expect(corpus["sha256"] as? String == bytes.sha256)

    // Pages that are others at the end than at the beginning are told of as neither.
    let writes = try Compiler.compile(
      "good", as: "writes", in: folder.path,
      flags: ["-DON_LOAD=FILE *f = fopen(\"\(image)\", \"a\"); if (f) { fputc(0, f); fclose(f); }"])
    let changed = try run([
      writes, "--only", "load/opens", "--corpus", image, "--certificate", folder("new.json"),
    ])
    #expect(
      changed.code == 70 && changed.errors.contains("while its pages were used"), "\(changed)")
    #expect(!FileManager.default.fileExists(atPath: folder("new.json")))
  }

  @Test("a library that changes under the run gets none")
  func changed() throws {
    let folder = try TemporaryFolder()
    let path = folder("libmultifd-changes.so")
    let bad = try Compiler.compile(
      "good", as: "changes", in: folder.path,
      flags: ["-DON_LOAD=FILE *f = fopen(\"\(path)\", \"a\"); if (f) { fputc(0, f); fclose(f); }"])
    let file = Certificate.path(beside: bad)
    let run = try run([bad, "--only", "load/opens", "--certificate", file])
    #expect(run.code == 70 && run.errors.contains("has changed while it was tried"), "\(run)")
    #expect(Certificate.read(beside: bad) == .none)
    let nowhere = try self.run(
      [bad, "--only", "load/opens", "--certificate", folder("no/such/folder")])
    #expect(nowhere.code == 70)
  }
}
