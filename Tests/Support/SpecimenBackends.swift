import Foundation

/// Backends of `Tests/BadBackends`, good ones or others, compiled into one folder.
public struct SpecimenBackends: Sendable {
  /// For `--plugin-dir`.
  public var folder: String { owner.path }
  private let owner: TemporaryFolder

  /// - Throws: also where there is no C compiler.
  public init(_ names: [String]) throws {
    owner = try TemporaryFolder()
    let tests = Fixtures.folder.deletingLastPathComponent()
    let header = tests.deletingLastPathComponent().appending(path: "Sources/PluginAPI/include")
    for name in names {
      let compiler = try ChildProcess([
        "/usr/bin/env", "cc", "-shared", "-fPIC", "-O1", "-w", "-fvisibility=hidden", "-pthread",
        "-DBACKEND_NAME=\"\(name)\"", "-I\(header.path)",
        "-o", "\(folder)/libmultifd-\(name).so",
        tests.appending(path: "BadBackends/\(name).c").path,
      ])
      guard compiler.wait(.seconds(60)) == .code(0) else {
        throw LabError("\(name) does not compile: \(compiler.errors.text)")
      }
    }
  }
}
