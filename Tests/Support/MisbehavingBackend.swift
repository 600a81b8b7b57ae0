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
    try SpecimenBackends.compile("live/misbehaves.c", as: name, in: folder, definitions)
  }

  /// For a command line.
  public var arguments: [String] { ["--compression", name, "--plugin-dir", folder] }
}
