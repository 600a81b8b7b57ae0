import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// Whose files are opened, and which folders are searched in what order.
@Suite("Search path and trust", .compiler)
struct TrustTests {
  @Test(
    "a file or folder that others can write to is refused",
    arguments: [
      (0o775, 0o700, "the file is writable for group"),
      (0o757, 0o700, "the file is writable for everybody"),
      (0o666, 0o700, "the file is writable for everybody"),
      (0o755, 0o770, "its folder"), (0o755, 0o702, "its folder"), (0o755, 0o1777, "its folder"),
    ])
  func modes(_ file: Int, _ folderMode: Int, _ says: String) throws {
    let folder = try TestFolder()
    let path = try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": "abort()"])
    try #require(chmod(path, mode_t(file)) == 0)
    try #require(chmod(folder.path, mode_t(folderMode)) == 0)
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .refused, "it was tried all the same")
    #expect(error.why.contains(says), "\(error.why)")
    #expect(error.why.contains("writable for"))
    #expect(error.hint?.contains("chmod go-w") == true)
  }

  @Test(
    "a folder above that others can write to is refused, and named",
    arguments: [
      (0o770, "writable for group"), (0o707, "writable for everybody"), (0o755, nil), (0o711, nil),
      (0o1777, geteuid() == 0 ? nil : "writable for everybody"),
    ] as [(Int, String?)])
  func above(_ mode: Int, _ says: String?) throws {
    let folder = try TestFolder()
    let above = try folder.folder("above"), inner = try folder.folder("above/in/ner")
    let mark = folder.path + "/mark"
    try Compiler.plugin(in: inner, ["CONSTRUCTOR": "fclose(fopen(\"\(mark)\", \"w\"))"])
    try #require(chmod(above, mode_t(mode)) == 0)
    let error = loadError(loader(inner))
    #expect((error == nil) == (says == nil), "\(error?.why ?? "")")
    #expect((access(mark, F_OK) == 0) == (says == nil))
    guard let says else { return }
    #expect(error?.kind == .refused)
    #expect(error?.why.hasPrefix("the folder \(above) above it is \(says)") == true)
    #expect(error?.hint?.hasSuffix("chmod go-w \(above) if you trust it") == true)
    let path = PluginSearchPath(explicit: [inner], environment: [:], executable: "")
    #expect(path.state(of: path.entries[0]) != .trusted)
  }

  @Test(
    "a folder of another user's above is refused, and named",
    .enabled(if: geteuid() == 0, "SKIPPED: only root can give a folder away"))
  func othersAbove() throws {
    let folder = try TestFolder()
    let above = try folder.folder("above"), inner = try folder.folder("above/inner")
    try Compiler.plugin(in: inner)
    // Sticky, too: whose it is can lift that.
    try #require(chmod(above, 0o1755) == 0 && chown(above, 12345, 0) == 0)
    let error = try #require(loadError(loader(inner)))
    #expect(error.why.hasPrefix("the folder \(above) above it belongs to user 12345, not to root"))
  }

  @Test("read-only modes are fine", arguments: [0o500, 0o444, 0o755])
  func readable(_ mode: Int) throws {
    let folder = try TestFolder()
    let path = try Compiler.plugin(in: folder.path)
    try #require(chmod(path, mode_t(mode)) == 0)
    #expect(loadError(loader(folder.path)) == nil)
  }

  @Test(
    "another user's file or folder is refused",
    .enabled(if: geteuid() == 0, "SKIPPED: only root can give a file away"),
    arguments: [true, false])
  func owners(_ file: Bool) throws {
    let folder = try TestFolder()
    let inner = try folder.folder("inner")
    let path = try Compiler.plugin(in: inner)
    try #require(chown(file ? path : inner, 12345, 0) == 0)
    let error = try #require(loadError(loader(inner)))
    #expect(error.kind == .refused)
    #expect(error.why.contains("belongs to user 12345, not to root"), "\(error.why)")
  }

  @Test("a link is judged by what it leads to")
  func links() throws {
    let folder = try TestFolder()
    let open = try folder.folder("open"), closed = try folder.folder("closed")
    let target = try Compiler.plugin(in: open)
    try #require(symlink(target, closed + "/libmultifd-sample.so") == 0)
    #expect(try loader(closed).load(named: "sample").path == target)
    try #require(symlink(target, closed + "/libmultifd-fast.so") == 0)
    let renamed = try #require(loadError(loader(closed), "fast"))
    #expect(renamed.why.contains("calls itself 'sample', but its file name says 'fast'"))
    try #require(chmod(open, 0o777) == 0)
    let error = try #require(loadError(loader(closed)))
    #expect(error.why.contains("its folder \(open) is writable for everybody"), "\(error.why)")
  }

  @Test("what is no regular file is not opened")
  func notFiles() throws {
    let folder = try TestFolder()
    try #require(mkfifo(folder.path + "/libmultifd-fifo.so", 0o600) == 0)
    try #require(mkdir(folder.path + "/libmultifd-folder.so", 0o700) == 0)
    try #require(symlink("/nowhere/at/all", folder.path + "/libmultifd-gone.so") == 0)
    #expect(loadError(loader(folder.path), "fifo")?.why == "is not a regular file")
    #expect(loadError(loader(folder.path), "folder")?.why == "is not a regular file")
    #expect(loadError(loader(folder.path), "gone")?.why == "No such file or directory")
  }

  @Test("a file name that is no backend's name is listed and not opened")
  func badNames() throws {
    let folder = try TestFolder()
    let good = try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": "abort()"])
    try FileManager.default.moveItem(atPath: good, toPath: folder.path + "/libmultifd-No Way.so")
    let candidates = loader(folder.path).candidates()
    #expect(candidates.map(\.name) == ["No Way"])
    guard case .failure(let error) = candidates[0].result else { return #expect(Bool(false)) }
    #expect(error.why == "'No Way' is not a backend's name")
  }

  @Test("the search order, without repetitions")
  func order() throws {
    let folder = try TestFolder()
    let a = try folder.folder("a"), b = try folder.folder("b"), c = try folder.folder("c")
    let bin = try folder.folder("bin")
    let path = PluginSearchPath(
      explicit: [b, "", a], environment: ["MULTIFD_PLUGIN_PATH": ":\(c)::\(a)/:/none:"],
      executable: bin + "/multifd")
    #expect(path.folders == [b, a, c, "/none", bin, bin + "/../lib/multifd"])
    #expect(
      path.entries.map(\.origin)
        == [.option, .option, .environment, .environment, .executable, .installation])
    #expect(path.state(of: path.entries[0]) == .trusted)
    #expect(path.state(of: path.entries[3]) == .missing)
    try #require(chmod(c, 0o777) == 0)
    guard case .refused(let error) = path.state(of: path.entries[2]) else {
      return #expect(Bool(false), "a folder for everybody is trusted")
    }
    #expect(error.why.contains("writable for everybody"))
  }

  @Test("a privileged process ignores the environment and opens root's files only")
  func privileged() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path)
    let path = PluginSearchPath(
      explicit: [folder.path], environment: "/somewhere", executable: "/usr/bin/multifd",
      privileged: true)
    #expect(path.folders == [folder.path, "/usr/bin", "/usr/bin/../lib/multifd"])
    let error = loadError(PluginLoader(searchPath: path))
    if geteuid() == 0 {
      #expect(error == nil)
    } else {
      #expect(error?.why.contains("not to root") == true)
    }
  }

  @Test("what was looked at is what is opened, whatever becomes of the folder's name meanwhile")
  func swapped() throws {
    let folder = try TestFolder()
    let good = try folder.folder("good"), evil = try folder.folder("evil")
    // While the good one is tried, its folder makes way for another. Above it anybody might do
    // that.
    try Compiler.plugin(
      in: good,
      [
        "VERSION": "\"1\"",
        "CONSTRUCTOR":
          "rename(\"\(good)\", \"\(folder.path)/old\"); rename(\"\(evil)\", \"\(good)\")",
      ])
    let mark = folder.path + "/mark"
    try Compiler.plugin(
      in: evil, ["VERSION": "\"2\"", "CONSTRUCTOR": "fclose(fopen(\"\(mark)\", \"w\"))"])
    let backend = try loader(good).load(named: "sample")
    #expect(backend.version == "1")
    #expect(access(evil, F_OK) != 0, "the folders were not swapped")
    #expect(access(mark, F_OK) != 0, "code ran that nobody had looked at")
  }

  @Test("the folders above what a library is tried with count, too")
  func aboveProbe() throws {
    let folder = try TestFolder()
    let above = try folder.folder("above"), program = try folder.folder("above/bin") + "/probe"
    try Compiler.plugin(in: folder.path)
    try Program.copy(Command.probe, to: program)
    let loader = loader(folder.path, program: program)
    try #require(chmod(above, 0o777) == 0)
    let error = try #require(loadError(loader))
    #expect(error.what == program)
    #expect(error.why == "the folder \(above) above it is writable for everybody")
    try #require(chmod(above, 0o755) == 0)
    #expect(loadError(loader) == nil)
  }

  @Test(
    "what a library is tried with must be as trusted as the library",
    arguments: [
      (0o775, 0o700, "the file is writable for group"), (0o757, 0o700, "the file is writable for"),
      (0o755, 0o770, "its folder"), (0o755, 0o1777, "its folder"), (0o755, 0o700, nil),
    ] as [(Int, Int, String?)])
  func probe(_ file: Int, _ folderMode: Int, _ says: String?) throws {
    let folder = try TestFolder()
    let place = try folder.folder("probe"), mark = folder.path + "/mark"
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": "fclose(fopen(\"\(mark)\", \"w\"))"])
    let program = place + "/multifd-probe"
    try Program.copy(Command.probe, to: program)
    try #require(chmod(program, mode_t(file)) == 0 && chmod(place, mode_t(folderMode)) == 0)
    let error = loadError(loader(folder.path, program: program))
    #expect((error == nil) == (says == nil))
    #expect(error?.kind ?? .refused == .refused && error?.what ?? program == program)
    if let says { #expect(error?.why.contains(says) == true, "\(error?.why ?? "")") }
    #expect((access(mark, F_OK) == 0) == (says == nil), "it was opened all the same")
  }

  @Test("without a program to try it with, no library is opened, and none is blamed for it")
  func noProbe() throws {
    let folder = try TestFolder()
    let path = try Compiler.plugin(in: folder.path)
    let error = try #require(loadError(loader(folder.path, program: "/no/such/program")))
    #expect(error.kind == .internalFault && error.what == path)
    #expect(
      error.why == "cannot be tried in a child process: there is no /no/such/program")
    let other = try #require(loadError(loader(folder.path, program: "/bin/true")))
    #expect(other.why == "cannot be tried in a child process: multifd-probe does not answer")
    // One that dies before it comes to the library, whatever of.
    for (index, end) in ["exit 127", "kill -9 $$"].enumerated() {
      let script = try folder.folder("probe-\(index)") + "/multifd-probe"
      try Program.write("#!/bin/sh\necho no such libc\n\(end)\n", to: script)
      let dead = try #require(loadError(loader(folder.path, program: script)))
      #expect(dead.kind == .internalFault && dead.why.contains("no such libc"), "\(dead)")
    }
    #expect(loadError(loader(folder.path)) == nil)
  }

  @Test("a library finds its own by $ORIGIN, although it is opened by a descriptor")
  func origin() throws {
    let folder = try TestFolder()
    let libraries = try folder.folder("own")
    try Compiler.plugin(in: libraries, name: "helper", ["NO_ENTRY": "1"])
    try Compiler.plugin(
      in: folder.path,
      linking: [
        "-Wl,-rpath,$ORIGIN/own", "-Wl,--no-as-needed", "-L", libraries, "-l:libmultifd-helper.so",
      ])
    #expect(loadError(loader(folder.path)) == nil)
  }

  @Test("the first file of a name counts, also when it is broken")
  func shadowing() throws {
    let folder = try TestFolder()
    let a = try folder.folder("a"), b = try folder.folder("b")
    let first = try Compiler.plugin(in: a, ["VERSION": "\"1\""])
    try Compiler.plugin(in: b, ["VERSION": "\"2\"", "CONSTRUCTOR": "abort()"])
    try Compiler.plugin(in: b, name: "other")
    #expect(try loader(a, b).load(named: "sample").version == "1")
    let candidates = loader(a, b).candidates()
    #expect(candidates.map(\.name) == ["sample", "other", "sample"])
    guard case .failure(let error) = candidates[2].result else { return #expect(Bool(false)) }
    #expect(error.kind == .shadowed)
    #expect(error.why.contains(first))

    // The other way round the broken one comes first: no silent falling back to another backend.
    #expect(loadError(loader(b, a))?.kind == .probeCrashed)
  }

  @Test("an unknown name gets the nearest one, and nothing is opened for it")
  func unknown() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, name: "zstd", ["CONSTRUCTOR": "abort()"])
    let error = try #require(loadError(loader(folder.path), "zsdt"))
    #expect(error.kind == .notFound)
    #expect(error.what == "backend 'zsdt'")
    #expect(error.hint == "did you mean zstd?")
    #expect(error.why.contains(folder.path))
    let far = try #require(loadError(loader(folder.path), "lz4"))
    #expect(far.hint == "there are: zstd")
    #expect(loadError(loader("/none"), "../../etc/passwd")?.kind == .notFound)
    for number in 0..<30 {
      try Data().write(to: URL(filePath: "\(folder.path)/libmultifd-\(number).so"))
    }
    let many = try #require(loadError(loader(folder.path), "lz4")?.hint)
    #expect(many.hasSuffix(", and 11 more"), "\(many)")
    #expect(error.report == "multifd: error: \(error.what): \(error.why)\nhint: did you mean zstd?")
  }

  @Test("a backend is found by format and by QEMU's method")
  func formats() throws {
    let folder = try TestFolder()
    let a = try folder.folder("a"), b = try folder.folder("b")
    let zlib = ["FORMAT": "\"zlib/1\"", "QEMU": "2u", "CAPS": "1u", "BOUND": "8192ull*page_count"]
    try Compiler.plugin(in: a, name: "isal", zlib)
    try Compiler.plugin(in: b, name: "zlib", zlib)
    #expect(try loader(a, b).load(qemuMethod: 2, to: .receive).name == "zlib")
    #expect(try loader(a).load(qemuMethod: 2, to: .receive).name == "isal")
    #expect(try loader(a, b).load(wireFormat: "zlib/1", to: .receive).name == "zlib")
    #expect(try loader(a).load(wireFormat: "zlib/1", to: .receive).name == "isal")
    #expect(throws: PluginError.self) { try loader(a, b).load(wireFormat: "zlib/2", to: .receive) }
    do {
      _ = try loader(a, b).load(qemuMethod: 4, to: .receive)
      #expect(Bool(false), "a backend for zstd was found")
    } catch {
      #expect(error.kind == .notFound)
      #expect(error.what == "QEMU's compression method zstd")
    }
    #expect(try loader(a, b).load(CompressionSpec(parsing: "zlib"), to: .receive).name == "zlib")
    // The built-in is there but broken: another is taken; without another its reason is told.
    let c = try folder.folder("c")
    try Compiler.plugin(in: c, name: "zlib", zlib.merging(["CONSTRUCTOR": "abort()"]) { $1 })
    #expect(try loader(c, a).load(qemuMethod: 2, to: .receive).name == "isal")
    #expect(throws: PluginError.self) { try loader(c).load(qemuMethod: 2, to: .receive) }
    // But not in the place of one that was asked for.
    #expect(throws: PluginError.self) {
      try loader(c, a).load(CompressionSpec(parsing: "zlib"), to: .receive)
    }
  }

  @Test("igzip comes before zlib where QEMU's zlib is meant, and zlib where it is")
  func preference() throws {
    let folder = try TestFolder()
    let a = try folder.folder("a"), b = try folder.folder("b"), c = try folder.folder("c")
    let zlib = ["FORMAT": "\"zlib/1\"", "QEMU": "2u", "CAPS": "1u", "BOUND": "8192ull*page_count"]
    try Compiler.plugin(in: a, name: "zlib", zlib)
    try Compiler.plugin(in: a, name: "igzip", zlib)
    try Compiler.plugin(in: b, name: "zlib", zlib)
    try Compiler.plugin(in: c, name: "igzip", zlib.merging(["CONSTRUCTOR": "abort()"]) { $1 })

    func asked(_ loader: PluginLoader, _ spec: String) throws -> String {
      try loader.load(CompressionSpec(parsing: spec), to: .send).name
    }
    let both = loader(a)
    #expect(try both.load(qemuMethod: 2, to: .receive).name == "igzip")
    #expect(try both.load(wireFormat: "zlib/1", to: .receive).name == "igzip")
    #expect(try both.load(named: "zlib").name == "zlib")
    #expect(try asked(both, "zlib") == "igzip", "QEMU's word")
    #expect(try asked(both, "zlib,level=1") == "zlib", "a backend, with an option of its own")
    #expect(try asked(both, "igzip") == "igzip")
    // It is not there, cannot be opened, or zlib has been put in front of it.
    for loader in [loader(b), loader(c, a), loader(b, a)] {
      #expect(try loader.load(qemuMethod: 2, to: .receive).name == "zlib")
      #expect(try loader.load(wireFormat: "zlib/1", to: .send).name == "zlib")
      #expect(try asked(loader, "zlib") == "zlib")
    }
    #expect(throws: PluginError.self) { try asked(loader(b), "igzip") }
    #expect(throws: PluginError.self) { try asked(loader(c, a), "igzip") }
  }
}
