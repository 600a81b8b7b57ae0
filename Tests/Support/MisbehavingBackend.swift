import Foundation

/// A backend that works up to a point and then does what it must not:
/// `Tests/BadBackends/live/misbehaves.c`, compiled.
public struct MisbehavingBackend: Sendable {
  /// For `--plugin-dir`.
  public let folder: String
  /// For `--compression`.
  public let name: String
  private let owner: TemporaryFolder

  /// Why there can be none; nil when there can.
  public static let unavailable: SkipReason? = {
    do {
      _ = try MisbehavingBackend("good", [:])
      return nil
    } catch { return SkipReason("no backend can be compiled (\(error))") }
  }()

  /// Compiles one.
  ///
  /// - Parameters:
  ///   - name: its name.
  ///   - definitions: of the C file's macros, such as `RECV`: `exit(0)`.
  public init(_ name: String, _ definitions: [String: String]) throws {
    owner = try TemporaryFolder()
    (folder, self.name) = (owner.path, name)
    let tests = Fixtures.folder.deletingLastPathComponent()
    let header = tests.deletingLastPathComponent().appending(path: "Sources/PluginAPI/include")
    let compiler = try ChildProcess(
      [
        "/usr/bin/env", "cc", "-shared", "-fPIC", "-O1", "-w", "-fvisibility=hidden", "-pthread",
        "-DBACKEND_NAME=\"\(name)\"", "-I\(header.path)",
      ] + definitions.map { "-D\($0)=\($1)" }
        + [
          "-o", "\(folder)/libmultifd-\(name).so",
          tests.appending(path: "BadBackends/live/misbehaves.c").path,
        ])
    guard compiler.wait(.seconds(60)) == .code(0) else {
      throw LabError("\(name) does not compile: \(compiler.errors.text)")
    }
  }

  /// For a command line.
  public var arguments: [String] { ["--compression", name, "--plugin-dir", folder] }
}
