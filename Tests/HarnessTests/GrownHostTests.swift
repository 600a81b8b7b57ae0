import Foundation
import Testing
import TestSupport

/// A host of a later minor version: the sources of loader and harness, compiled with a header in
/// which every struct has grown. What was built before must work there, and what is built for it
/// must work here.
@Suite("A host whose structs have grown", .serialized, .early, .needsCompiler, .needsSwift)
struct GrownHostTests {
  /// Built once, by whoever needs it first.
  private static let host = Result { try GrownHost() }

  /// What goes through each of the structs; the kept library gets all there is.
  private static let core = ["abi/*", "options/*", "lifecycle/*", "roundtrip/stream"]

  private func run(_ library: String, in folder: TemporaryFolder, _ tests: [String] = []) throws
    -> Outcome
  {
    try Self.host.get().run(library, in: folder.path, tests)
  }

  @Test("a library that was compiled and kept before they grew loads and works")
  func heirloom() throws {
    #if arch(x86_64)
      let folder = try TemporaryFolder()
      let outcome = try run(try Heirloom.copy(to: folder), in: folder)
      #expect(outcome.code == 0, "\(outcome.output)")
      // Its table, its options and the params it knows are all shorter than that host's.
      for test in ["abi/host-accepts", "options/refused", "roundtrip/stream", "abi/option-table"] {
        let passed = outcome.passed(test)
        #expect(passed, "\(test)")
      }
    #else
      SkipReason("the kept library is for x86_64").announce("a library kept from ABI 1.0")
    #endif
  }

  @Test("a backend built with today's header loads and works")
  func today() throws {
    let folder = try TemporaryFolder()
    let outcome = try run(try Compiler.compile("good", in: folder.path), in: folder, Self.core)
    #expect(outcome.code == 0, "\(outcome.output)")
    let accepted = outcome.passed("abi/host-accepts")
    #expect(accepted)
  }

  @Test("a backend of that version finds there what was appended")
  func services() throws {
    let folder = try TemporaryFolder()
    let include = try GrownHeader.write(in: folder)
    let good = try Compiler.compile(
      "good", as: "grown", in: folder.path, include: include,
      flags: GrownHeader.flags(expecting: GrownHeader.answer))
    let outcome = try run(good, in: folder, Self.core)
    #expect(outcome.code == 0, "\(outcome.output)")
    // That it really asked: with another answer in mind it gives up.
    let picky = try Compiler.compile(
      "good", as: "picky", in: folder.path, include: include,
      flags: GrownHeader.flags(expecting: GrownHeader.answer + 1))
    let failed = try run(picky, in: folder, ["lifecycle/setup-cleanup"])
    #expect(failed.code == 1, "\(failed.output)")
  }

  struct Outcome {
    let code: Int32
    let output: String

    func passed(_ test: String) -> Bool {
      output.split(separator: "\n").contains {
        $0.hasPrefix("ok ") && $0.hasSuffix(" - \(test)")
      }
    }
  }
}

/// The executable.
struct GrownHost {
  private let folder: TemporaryFolder
  private let executable: String

  /// Where Swift's own initialisers of the structs have to name what was appended.
  private static let servicesTables = [
    (
      "PluginLoader/HostServices.swift",
      "free: { channel, pointer in with(channel) { $0.free(pointer) } }"
    ),
    (
      "Harness/TestHost/TestHost.swift",
      "free: { channel, pointer in TestHost.of(channel).free(pointer) }"
    ),
    ("Harness/Bench/Bench.swift", "free: { _, pointer in Glibc.free(pointer) }"),
  ]

  init() throws {
    folder = try TemporaryFolder()
    let sources = folder("Sources"), files = FileManager.default
    try files.createDirectory(atPath: sources + "/Host", withIntermediateDirectories: true)
    for part in [
      "PluginAPI", "Host/CLinux", "Host/CHarness", "Host/CPluginProbe", "Host/CProcessState",
      "Host/Digest", "Host/TOML",
      "Host/System", "Host/PluginLoader", "Host/Chart", "Host/Certificates", "Host/Harness",
    ] {
      try files.copyItem(
        atPath: Compiler.header + "/../../\(part)", toPath: "\(sources)/\(part)")
    }
    try GrownHeader.rewrite(
      sources + "/PluginAPI/include/multifd_plugin.h", GrownHeader.changes)
    for (file, last) in Self.servicesTables {
      try GrownHeader.rewrite(
        "\(sources)/Host/\(file)", [(last, last + ", later: { _ in \(GrownHeader.answer) }")])
    }
    executable = folder("grown-harness")
    try build(sources)
  }

  /// As the package builds them, one module after the other.
  private func build(_ sources: String) throws {
    var objects: [String] = []
    for part in ["CLinux", "CHarness", "CProcessState"] {
      let path = "\(sources)/Host/\(part)"
      for file in try FileManager.default.contentsOfDirectory(atPath: path).sorted()
      where file.hasSuffix(".c") {
        objects.append(folder("\(part)-\(file).o"))
        try run(
          [Compiler.path ?? "cc", "-O2", "-std=gnu11", "-I\(path)/include", "-c"]
            + ["\(path)/\(file)", "-o", objects.last!])
      }
    }
    let include = ["PluginAPI", "Host/CLinux", "Host/CHarness", "Host/CProcessState"].flatMap {
      ["-I", "\(sources)/\($0)/include"]
    }
    let swift =
      [Compiler.swift ?? "swiftc", "-Onone", "-swift-version", "6", "-I", folder.path] + include
    for module in ["System", "Digest", "PluginLoader", "Chart", "Certificates", "TOML", "Harness"] {
      objects.append(folder("\(module).o"))
      let path = "\(sources)/Host/\(module)"
      let names = try FileManager.default.subpathsOfDirectory(atPath: path).sorted()
      try run(
        swift + [
          "-wmo", "-package-name", "multifd", "-parse-as-library", "-module-name", module,
          "-emit-module", "-emit-module-path", folder("\(module).swiftmodule"), "-c",
          "-o", objects.last!,
        ] + names.filter { $0.hasSuffix(".swift") }.map { "\(path)/\($0)" })
    }
    let main = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "GrownHost/main.swift").path
    try run(swift + [main] + objects + ["-o", executable])
    // Beside it, where its loader looks for it.
    let parts = try ["CPluginProbe", "CProcessState"].flatMap { part in
      let path = "\(sources)/Host/\(part)"
      return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
        .filter { $0.hasSuffix(".c") }.map { "\(path)/\($0)" }
    }
    try run(
      [Compiler.path ?? "cc", "-O2", "-std=gnu11"] + include + parts
        + ["-o", folder("multifd-probe"), "-ldl"])
  }

  private func run(_ command: [String]) throws {
    let (code, output) = try Self.start(command)
    try #require(code == 0, "\(command.joined(separator: " ")):\n\(output)")
  }

  /// Runs that harness over a library.
  func run(_ library: String, in folder: String, _ tests: [String]) throws
    -> GrownHostTests.Outcome
  {
    let (code, output) = try Self.start([executable, library, folder] + tests)
    return GrownHostTests.Outcome(code: code, output: output)
  }

  private static func start(_ command: [String]) throws -> (Int32, String) {
    let process = Process(), pipe = Pipe()
    process.executableURL = URL(filePath: command[0])
    process.arguments = Array(command.dropFirst())
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
