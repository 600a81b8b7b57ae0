import Foundation

/// Backends of `Tests/BadBackends`, good ones or others, compiled into one folder.
public struct SpecimenBackends: Sendable {
  /// For `--plugin-dir`.
  public var folder: String { owner.path }
  private let owner: TemporaryFolder

  /// - Throws: also where there is no C compiler.
  public init(_ names: [String]) throws {
    owner = try TemporaryFolder()
    for name in names { try Self.compile("\(name).c", as: name, in: folder) }
  }

  /// Compiles one file of `Tests/BadBackends`, with definitions of its macros.
  static func compile(
    _ file: String, as name: String, in folder: String, _ definitions: [String: String] = [:]
  ) throws {
    let tests = Fixtures.folder.deletingLastPathComponent()
    let header = tests.deletingLastPathComponent().appending(path: "Sources/PluginAPI/include")
    try CompiledOnce.make(
      [
        "/usr/bin/env", "cc", "-shared", "-fPIC", "-O1", "-w", "-fvisibility=hidden", "-pthread",
        "-DBACKEND_NAME=\"\(name)\"", "-I\(header.path)",
      ] + definitions.map { "-D\($0)=\($1)" }.sorted()
        + [tests.appending(path: "BadBackends/\(file)").path],
      at: "\(folder)/libmultifd-\(name).so")
  }
}
