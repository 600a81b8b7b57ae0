import Foundation
import Harness
import PluginLoader
import Testing
import TestSupport

/// Backends of other versions of the interface, made by compiling with a header of another age.
@Suite(.serialized, .needsCompiler) struct CompatibilityTests {
  /// A copy of the header with some lines changed, in a folder to include from.
  private func header(
    in folder: TemporaryFolder, _ changes: [(String, String)]
  ) throws -> String {
    var text = try String(contentsOfFile: Compiler.header + "/multifd_plugin.h", encoding: .utf8)
    for (old, new) in changes {
      try #require(text.contains(old), "the header has no '\(old)'")
      text = text.replacingOccurrences(of: old, with: new)
    }
    let include = folder("include")
    try FileManager.default.createDirectory(atPath: include, withIntermediateDirectories: true)
    try text.write(toFile: include + "/multifd_plugin.h", atomically: false, encoding: .utf8)
    return include
  }

  private func check(_ path: String, rewriting: Bool = true) throws -> RunReport {
    var settings = Run.settings(path)
    settings.skip = [try #require(TestPattern("perf")), try #require(TestPattern("hostile"))]
    settings.fuzzSeconds = 0.2
    settings.timeout = 120
    return try Run.run(settings)
  }

  @Test("a backend of a later minor version, whose structs are longer, loads and works")
  func laterMinor() throws {
    let folder = try TemporaryFolder()
    let include = try header(
      in: folder,
      [
        ("#define MULTIFD_ABI_MINOR 0", "#define MULTIFD_ABI_MINOR 1"),
        (
          "  int32_t (*recv)(MultiFDRecvParams *params);",
          "  int32_t (*recv)(MultiFDRecvParams *params);\n  void *later[3];"
        ),
        ("sizeof(MultiFDMethods) == 128", "sizeof(MultiFDMethods) == 152"),
        (
          "  uint32_t type; /* MULTIFD_OPTION_* */\n  uint32_t reserved;",
          "  uint32_t type;\n  uint32_t reserved;\n  uint64_t later;"
        ),
        ("sizeof(MultiFDOption) == 56", "sizeof(MultiFDOption) == 64"),
      ])
    let path = try Compiler.compile("good", as: "later", in: folder.path, include: include)
    let report = try check(path)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
    #expect(report.exitCode == 0)
    let accepted = report.results.first { $0.test.id == "abi/host-accepts" }
    #expect(accepted?.outcome == .passed)
  }

  @Test("a backend from before the params structs had grown loads and works")
  func earlierParams() throws {
    let folder = try TemporaryFolder()
    let include = try header(
      in: folder,
      [
        ("const uint8_t *MULTIFD_NULLABLE reference;", ""),
        ("sizeof(MultiFDSendParams) == 128", "sizeof(MultiFDSendParams) == 120"),
        ("sizeof(MultiFDRecvParams) == 112", "sizeof(MultiFDRecvParams) == 104"),
        ("MULTIFD_PIN_AT(MultiFDSendParams, reference, 120);", ""),
        ("MULTIFD_PIN_AT(MultiFDRecvParams, reference, 104);", ""),
      ])
    let path = try Compiler.compile("good", as: "earlier", in: folder.path, include: include)
    let report = try check(path)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
  }

  @Test("a backend of the next major version is refused by name of both versions")
  func nextMajor() throws {
    let folder = try TemporaryFolder()
    let path = try Compiler.compile("future-major", in: folder.path)
    let report = try check(path)
    #expect(report.exitCode == 2)
    let message = report.failures.flatMap(\.findings).map(\.message).joined()
    #expect(message.contains("ABI 2.0") && message.contains("1.0"), "\(message)")
    let loader = PluginLoader(
      searchPath: PluginSearchPath(explicit: [folder.path], environment: [:], executable: ""))
    #expect { try loader.load(named: "future-major") } throws: { error in
      "\(error)".contains("2.0") && "\(error)".contains("1.0")
    }
  }

  /// A file that was compiled once and is kept: what is loaded here was never built against today's header.
  @Test("a library kept from ABI 1.0 still loads and works")
  func heirloom() throws {
    #if arch(x86_64)
      let folder = try TemporaryFolder()
      // Git keeps no owner, and the loader looks at it.
      let path = folder("libmultifd-heirloom.so")
      try FileManager.default.copyItem(
        atPath: GoldenFiles.folder + "/x86_64/libmultifd-heirloom.so", toPath: path)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
      let report = try check(path)
      #expect(report.failures.isEmpty, "\(Run.account(report))")
      #expect(report.backend?.wireFormat == "sample/1")
      // And it exchanges packets with what is built today of the same format.
      let today = try Compiler.compile("good", in: folder.path)
      var settings = Run.settings(today)
      settings.golden = GoldenFiles.folder + "/x86_64"
      settings.only = [try #require(TestPattern("golden/libraries"))]
      let exchange = try Run.run(settings)
      #expect(exchange.results.first?.outcome == .passed, "\(Run.account(exchange))")
    #else
      SkipReason("the kept library is for x86_64").announce("a library kept from ABI 1.0")
    #endif
  }
}
