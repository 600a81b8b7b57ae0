import Foundation
import Harness
import PluginLoader
import Testing
import TestSupport

/// Backends of other versions of the interface, made by compiling with a header of another age.
@Suite(.serialized, .needsCompiler) struct CompatibilityTests {
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
    let include = try GrownHeader.write(in: folder)
    // It would use a service that this host does not have, and sees by the table's size that it
    // must not.
    let path = try Compiler.compile(
      "good", as: "later", in: folder.path, include: include,
      flags: GrownHeader.flags(expecting: GrownHeader.answer))
    let report = try check(path)
    #expect(report.failures.isEmpty, "\(Run.account(report))")
    #expect(report.exitCode == 0)
    let accepted = report.results.first { $0.test.id == "abi/host-accepts" }
    #expect(accepted?.outcome == .passed)
    // What a host of a still later minor has there is not for this one to say.
    let later = report.results.first { $0.test.id == "abi/later-host" }
    guard case .skipped = later?.outcome else {
      Issue.record("abi/later-host: \(String(describing: later?.outcome))")
      return
    }
  }

  @Test("a backend from before the params structs had grown loads and works")
  func earlierParams() throws {
    let folder = try TemporaryFolder()
    let include = try GrownHeader.write(
      in: folder,
      [
        ("  const uint8_t *MULTIFD_NULLABLE reference;\n}", "}"),
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
    #expect(message.contains("ABI 2.1") && message.contains("1.1"), "\(message)")
    let loader = PluginLoader(
      searchPath: PluginSearchPath(explicit: [folder.path], environment: [:], executable: ""))
    #expect { try loader.load(named: "future-major") } throws: { error in
      "\(error)".contains("2.1") && "\(error)".contains("1.1")
    }
  }

  /// A file that was compiled once and is kept: what is loaded here was never built against today's
  /// header.
  @Test("a library kept from ABI 1.0 still loads and works")
  func heirloom() throws {
    #if arch(x86_64)
      let folder = try TemporaryFolder()
      let path = try Heirloom.copy(to: folder)
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

/// The kept library.
enum Heirloom {
  /// A copy with an owner and a mode that the loader accepts: git keeps neither.
  static func copy(to folder: TemporaryFolder) throws -> String {
    let path = folder("libmultifd-heirloom.so")
    try FileManager.default.copyItem(
      atPath: GoldenFiles.folder + "/x86_64/libmultifd-heirloom.so", toPath: path)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    return path
  }
}
