import Foundation
import Testing
import TestSupport

/// Pages of a real guest instead of those that are made up.
@Suite(.serialized, .needsCompiler) struct CorpusTests: RunsCommand {
  /// A backend that refuses pages with this word in them: whoever meets it was given the corpus.
  private static let word = "MARK"

  private func picky(in folder: String) throws -> String {
    let refuse =
      "for (uint32_t i = 0; i < p->normal_num; i++) "
      + "if (memmem(p->host + p->normal[i], p->page_size, \"\(Self.word)\", 4)) "
      + "{ p->services->error(p->channel, \"the corpus\"); return MULTIFD_ERROR_INTERNAL; }"
    return try Compiler.compile(
      "good", as: "picky", in: folder, flags: ["-D_GNU_SOURCE", "-DON_PREPARE=\(refuse)"])
  }

  /// A sparse file as a store has it: a few pages of data in 64 MiB of holes.
  private func image(_ path: String) throws {
    try Data().write(to: URL(filePath: path))
    let file = try FileHandle(forWritingTo: URL(filePath: path))
    for page in [3, 4000, 9000] {
      try file.seek(toOffset: UInt64(page * 4096))
      let text = String(repeating: "\(Self.word) of page \(page). ", count: 400)
      try file.write(contentsOf: Data(text.utf8.prefix(4096)))
    }
    try file.truncate(atOffset: 64 << 20)
    try file.close()
  }

  @Test(
    "roundtrip, recordings, fuzzing and speed use its pages",
    arguments: [
      "roundtrip/basic", "golden/payloads", "fuzz/decode", "fuzz/encode", "perf/throughput",
      "perf/options",
    ])
  func used(test: String) throws {
    let folder = try TemporaryFolder()
    let library = try picky(in: folder.path), image = folder("guest.ram")
    try self.image(image)
    let arguments = [
      library, "--only", test, "--fuzz-time", "2", "--golden", folder("golden"), "--record",
      "--artifacts", folder.path,
    ]
    #expect(try run(arguments).code == 0, "made-up pages do not have the word")
    let real = try run(arguments + ["--corpus", image])
    #expect(real.code == 1, "\(real.output)")
    #expect(real.output.contains("--corpus \(image)") || real.output.contains("--replay"))
  }

  @Test("it is pages, or wrong usage, and one seed takes the same ones")
  func file() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    try Data(count: 100).write(to: URL(filePath: folder("short")))
    for wrong in [folder("short"), folder("none"), folder.path] {
      let run = try run([good, "--only", "load", "--corpus", wrong])
      #expect(run.code == 64 && run.errors.contains(wrong), "\(run)")
    }
    let image = folder("guest.ram")
    try self.image(image)
    func record(_ name: String) throws -> Data {
      let arguments = ["--only", "golden/payloads", "--golden", folder(name), "--record"]
      #expect(try run([good, "--corpus", image] + arguments).code == 0)
      return try Data(contentsOf: URL(filePath: folder(name) + "/good-1.0.0.golden"))
    }
    let first = try record("a")
    #expect(try record("b") == first)
    #expect(first.range(of: Data(Self.word.utf8)) != nil)
    // Larger pages than the file has, too, and a file of nothing but holes.
    try Data("x".utf8 + [UInt8](repeating: 0, count: 4095)).write(to: URL(filePath: folder("one")))
    try Data(count: 8192).write(to: URL(filePath: folder("holes")))
    for file in ["one", "holes"] {
      let run = try run(
        [good, "--quick", "--only", "roundtrip/(basic|contents|page-sizes)"]
          + ["--corpus", folder(file)])
      #expect(run.code == 0, "\(run.output)")
    }
  }

  @Test("speed has its processor time and spread beside it")
  func figures() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let human = try run([good, "--quick", "--only", "perf/throughput"]).output
    #expect(human.contains("encode MB/s  spread  cpu s/GB  decode MB/s  spread  cpu s/GB  ratio"))
    let json = try run([good, "--quick", "--only", "perf/throughput", "--format", "json"]).output
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let results = try #require(report["results"] as? [[String: Any]])
    let metrics = try #require(results[0]["metrics"] as? [String: [String: Any]])
    for content in ["ram", "random", "sparse", "text"] {
      for side in ["encode", "decode"] {
        let cpu = try #require(metrics["cpu.\(side).\(content)"]?["value"] as? Double)
        #expect(cpu > 0, "\(side) \(content): \(cpu) s/GB")
        #expect(metrics["throughput.\(side).\(content)"]?["value"] is Double)
        #expect(metrics["spread.\(side).\(content)"]?["value"] is Double)
      }
    }
    #expect(metrics["machine.waited"]?["value"] is Double)
  }

  @Test("a busy machine is told of")
  func busy() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    // Two that share a processor with it: it gets a third of it, and waits.
    let loops = try (0..<2).map { _ in
      try ChildProcess(["/usr/bin/taskset", "-c", "0", "/bin/sh", "-c", "while :; do :; done"])
    }
    defer { for loop in loops { loop.kill() } }
    let run = try start(
      "/usr/bin/taskset", ["-c", "0", Run.executable, good, "--only", "perf/throughput"])
    #expect(run.output.contains("warning: the machine is busy"), "\(run.output)")
  }
}
