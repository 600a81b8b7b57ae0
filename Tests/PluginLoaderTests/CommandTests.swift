import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// The command line beside the test runner.
enum Command {
  static let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().path
  static let path = folder + "/multifd"
  /// The program that tries libraries.
  static let probe = folder + "/multifd-probe"

  /// Whether this build's command has `plugins`.
  static let isThere: Bool = {
    guard access(path, X_OK) == 0, let result = try? run("--help") else { return false }
    return result.output.contains("plugins")
  }()

  struct Result {
    let code: Int32
    let output: String
    let errors: String

    func json() throws -> Any { try JSONSerialization.jsonObject(with: Data(output.utf8)) }
  }

  static func run(_ arguments: String...) throws -> Result { try run(arguments) }

  /// - Parameter folders: what it finds in MULTIFD_PLUGIN_PATH.
  static func run(
    program: String = path, _ arguments: [String], searching folders: String? = nil
  ) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment
    process.environment?["MULTIFD_PLUGIN_PATH"] = folders
    // Files instead of pipes: neither stream can fill up while the other is read.
    let folder = try TestFolder()
    let files = ["out", "err"].map { folder.path + "/" + $0 }
    for file in files { _ = FileManager.default.createFile(atPath: file, contents: nil) }
    process.standardOutput = FileHandle(forWritingAtPath: files[0])
    process.standardError = FileHandle(forWritingAtPath: files[1])
    try process.run()
    process.waitUntilExit()
    return Result(
      code: process.terminationStatus,
      output: try String(contentsOfFile: files[0], encoding: .utf8),
      errors: try String(contentsOfFile: files[1], encoding: .utf8))
  }
}

/// `multifd plugins`, as a user meets it.
@Suite(
  "The plugins command", .compiler,
  .enabled(if: Command.isThere, "SKIPPED: the multifd beside the test runner has no 'plugins'"))
struct CommandTests {
  let folder: TestFolder
  let sample: String

  init() throws {
    folder = try TestFolder()
    sample = try Compiler.plugin(in: folder.path)
    try Compiler.plugin(in: folder.path, name: "crash", ["CONSTRUCTOR": "abort()"])
  }

  @Test("list shows what can be used and why the rest cannot")
  func list() throws {
    let result = try Command.run("plugins", "list", "--plugin-dir", folder.path)
    #expect(result.code == 0)
    #expect(result.output.hasPrefix("NAME"))
    #expect(result.output.contains("sample  1.2.3"))
    #expect(
      result.output.contains(
        "\(folder.path)/libmultifd-crash.so: died of signal 6 (Aborted) while it was opened"))
    let json = try #require(
      try Command.run("plugins", "list", "--json", "--plugin-dir", folder.path).json()
        as? [[String: Any]])
    #expect(json.first?["name"] as? String == "crash")
    #expect((json.first?["error"] as? [String: Any])?["kind"] as? String == "probeCrashed")
    #expect(json.first { $0["name"] as? String == "sample" }?["usable"] as? Bool == true)
  }

  @Test("show tells everything, for people and for scripts")
  func show() throws {
    let people = try Command.run("plugins", "show", "sample", "--plugin-dir", folder.path)
    #expect(people.code == 0)
    #expect(people.output.contains("wire format:   sample/1"))
    #expect(people.output.contains("OPTION"))
    let plain = try Command.run("plugins", "show", "sample", "--plain", "--plugin-dir", folder.path)
    #expect(plain.output.hasPrefix("name=sample\nversion=1.2.3\n"))
    let json = try #require(
      try Command.run("plugins", "show", "sample", "--json", "--plugin-dir", folder.path).json()
        as? [String: Any])
    #expect(json["wire-format"] as? String == "sample/1")
    #expect((json["options"] as? [[String: Any]])?.count == 6)
    #expect(json["path"] as? String == sample)
    let none = try Command.run("plugins", "show", "smaple", "--plugin-dir", folder.path)
    #expect(none.code == 2)
    #expect(none.errors.hasPrefix("multifd: error: backend 'smaple': "))
    #expect(none.errors.hasSuffix("\nhint: did you mean sample?\n"))
  }

  @Test("check answers with its exit code")
  func check() throws {
    func check(_ arguments: String...) throws -> Command.Result {
      try Command.run(["plugins", "check", "--plugin-dir", folder.path] + arguments)
    }
    let good = try check("sample")
    #expect(good.code == 0)
    #expect(good.output.hasPrefix("sample 1.2.3 (sample/1, ABI 1.1), \(sample): can be used\n"))
    #expect(good.output.contains("  from a QEMU  no: no stock QEMU knows sample/1\n"))
    #expect(good.output.contains("  over a link  yes: relay and send --to link:URI"))
    let told = try check("sample", "--json").json() as? [String: Any]
    #expect((told?["backend"] as? [String: Any])?["roles"] as? [String] == ["link"])
    let crash = try check("crash", "--json")
    #expect(crash.code == 2)
    #expect((try crash.json() as? [String: Any])?["usable"] as? Bool == false)
    #expect(try check("none").code == 2)
    #expect(try check("sample", "--atleast", "1.2.3").code == 0)
    let old = try check("sample", "--atleast", "1.10")
    #expect(old.code == 2)
    #expect(old.errors.hasPrefix("multifd: error: sample 1.2.3: is older than 1.10\n"))
  }

  @Test("path tells the folders in order and whether they are trusted")
  func path() throws {
    try #require(chmod(folder.path, 0o777) == 0)
    let json = try #require(
      try Command.run(
        ["plugins", "path", "--json", "--plugin-dir", folder.path], searching: "/no/such"
      ).json() as? [[String: Any]])
    #expect(json.map { $0["state"] as? String }.prefix(2) == ["refused", "missing"])
    #expect(
      json.map { $0["origin"] as? String } == [
        "--plugin-dir", "MULTIFD_PLUGIN_PATH", "the executable's folder", "../lib/multifd",
      ])
  }

  @Test(
    "a folder that is named and is none is a slip of the pen, wherever it may be named",
    arguments: [
      ["plugins", "list"], ["plugins", "show", "zlib"], ["plugins", "check", "zlib"],
      ["plugins", "path"], ["inspect", "/dev/null"], ["receive", "--listen", "x", "--store", "y"],
      ["receive", "--compression", "zlib", "--help"], ["relay", "--listen", "x", "--to", "y"],
      ["send", "--store", "x", "--to", "y"],
      ["bench", "checkpoint", "--primary", "false", "--secondary", "false"],
    ])
  func noFolder(_ command: [String]) throws {
    for (folder, says) in [
      ("/no/such", "No such file or directory"), (sample, "Not a directory"),
      ("", "No such file or directory"),
    ] {
      let result = try Command.run(command + ["--plugin-dir", folder])
      #expect(result.code == 64, "\(result.errors)")
      #expect(
        result.errors.hasPrefix("multifd: error: usage: --plugin-dir \(folder): \(says)\n"),
        "\(result.errors)")
    }
  }

  @Test("the help of a compression is the backend's own")
  func help() throws {
    for arguments in [
      ["receive", "--compression", "sample,level=1", "--plugin-dir", folder.path, "--help"],
      ["receive", "--plugin-dir=\(folder.path)", "-h", "--compression=sample"],
    ] {
      let result = try Command.run(arguments)
      #expect(result.code == 0)
      #expect(result.output.hasPrefix("sample 1.2.3: Pages as they are\n"), "\(result.output)")
      #expect(result.output.contains("level=-7…22"))
    }
    let broken = try Command.run(
      "receive", "--compression", "crash", "--plugin-dir", folder.path, "--help")
    #expect(broken.code == 2)
    #expect(broken.errors.contains("died of signal 6"))
  }

  @Test(
    "a set-id host tries with root's program only",
    .enabled(
      if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0,
      "SKIPPED: needs root and setpriv"),
    arguments: [true, false])
  func setIDHost(isRoots: Bool) throws {
    let place = try TestFolder()
    for (file, mode) in [("multifd", 0o4755), ("multifd-probe", 0o755)] as [(String, mode_t)] {
      let copy = place.path + "/" + file
      try Program.copy(Command.folder + "/" + file, to: copy)
      try #require(chmod(copy, mode) == 0)
    }
    try Compiler.plugin(in: place.path)
    try #require(chmod(place.path, 0o755) == 0)
    let user: uid_t = 65534
    if !isRoots { try #require(chown(place.path + "/multifd-probe", user, user) == 0) }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/setpriv")
    process.arguments = [
      "--reuid", "\(user)", "--clear-groups", place.path + "/multifd", "plugins", "check", "sample",
    ]
    let output = Pipe()
    (process.standardOutput, process.standardError) = (output, output)
    try process.run()
    let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == (isRoots ? 0 : 2), "\(said)")
    let says = "multifd-probe: the file belongs to user \(user), not to root"
    #expect(said.contains(says) != isRoots, "\(said)")
  }

  @Test("a host without the program that tries libraries says so, and opens none")
  func noProbe() throws {
    let place = try TestFolder()
    let bin = try place.folder("bin")
    try Program.copy(Command.path, to: bin + "/multifd")
    let result = try Command.run(
      program: bin + "/multifd", ["plugins", "show", "sample", "--plugin-dir", folder.path])
    #expect(result.code == 70)
    #expect(
      result.errors.hasPrefix(
        "multifd: error: \(sample): cannot be tried in a child process: there is no "
          + "\(bin)/multifd-probe, no \(bin)/../libexec/multifd/multifd-probe\nhint: "),
      "\(result.errors)")
    // As it is installed.
    let libexec = try place.folder("libexec/multifd")
    try Program.copy(Command.probe, to: libexec + "/multifd-probe")
    let installed = try Command.run(
      program: bin + "/multifd", ["plugins", "check", "sample", "--plugin-dir", folder.path])
    #expect(installed.code == 0, "\(installed.errors)")
  }

  @Test(
    "a set-id program probes what is root's, whatever descriptors it is started with",
    .enabled(
      if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0,
      "SKIPPED: needs root and setpriv"),
    arguments: [true, false])
  func setID(isRoots: Bool) throws {
    let place = try TestFolder()
    let library = try place.folder("library")
    try Compiler.plugin(in: library)
    let program = place.path + "/multifd-probe"
    try Program.copy(Command.probe, to: program)
    try #require(chmod(place.path, 0o755) == 0 && chmod(program, 0o4755) == 0)
    try #require(chmod(library, 0o755) == 0)
    let user: uid_t = 65534
    if !isRoots { try #require(chown(library, user, user) == 0) }
    // Anybody can give it a pipe and a folder where a probe's child has them.
    let process = Process()
    process.executableURL = URL(filePath: "/bin/bash")
    process.arguments = [
      "-c",
      "{ setpriv --reuid \(user) --clear-groups \"$0\" \"$1\" "
        + "3>&1 4<\"$2\" >/dev/null 2>&1; } | cat",
      program, "libmultifd-sample.so", library,
    ]
    let report = Pipe()
    process.standardOutput = report
    try process.run()
    let account = report.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    // The first of its items, and the last two.
    #expect(Array(account.prefix(5)) == (isRoots ? [1, 0, 0, 0, 0] : []))
    let end: [UInt8] = [4, 0, 0, 0, 0, 13, 4, 0, 0, 0, 0, 0, 0, 0]
    #expect(Array(account.suffix(14)) == (isRoots ? end : []))
  }

  @Test("where --compression is QEMU's, its help is the command's")
  func benchHelp() throws {
    let result = try Command.run("bench", "checkpoint", "--compression", "zlib", "--help")
    #expect(result.code == 0 && result.output.contains("--primary"), "\(result.output)")
  }

  @Test("the command itself answers no probe, and the probe nobody but the loader")
  func probeArgument() throws {
    let crash = folder.path + "/libmultifd-crash.so"
    #expect(try Command.run("--multifd-probe-library", crash).code == 64)
    for arguments in [[], [crash], ["libmultifd-crash.so"], ["--help"]] {
      let result = try Command.run(program: Command.probe, arguments)
      #expect(result.code == 64 && result.errors.hasPrefix("multifd-probe: "), "\(arguments)")
    }
  }
}
