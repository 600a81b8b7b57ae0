import Foundation

/// Backends from `Examples`, built by their own Makefiles for the tests' sake.
public final class ExamplePlugins: Sendable {
  /// Why one could not be built, by its name.
  public let missing: [String: SkipReason]
  /// Where they are.
  public var folder: String { owner.path }
  private let owner: TemporaryFolder

  /// Builds those of these names; says loudly which cannot be.
  public init(_ names: [String]) throws {
    owner = try TemporaryFolder()
    var missing: [String: SkipReason] = [:]
    for name in names {
      guard let reason = try Self.build(name, in: owner) else { continue }
      reason.announce("the backend \(name)")
      missing[name] = reason
    }
    self.missing = missing
  }

  /// `--plugin-dir` for whoever is to find them.
  public var arguments: [String] { ["--plugin-dir", folder] }

  /// Removes them.
  public func remove() { owner.remove() }

  private static func build(_ name: String, in folder: TemporaryFolder) throws -> SkipReason? {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let sources = try TemporaryFolder()
    defer { sources.remove() }
    // Beside a copy: the folder of the sources stays as it is.
    let copy = sources(name)
    let example = root.appending(path: "Examples/\(name)").path
    guard (try? FileManager.default.copyItem(atPath: example, toPath: copy)) != nil else {
      return SkipReason("there is no \(example)")
    }
    let library = "libmultifd-\(name).so"
    let make = try ChildProcess([
      "/usr/bin/make", "-s", "-C", copy, "-B", library,
      "CPPFLAGS=-I\(root.path)/Sources/PluginAPI/include",
    ])
    guard make.wait(.seconds(60)) == .code(0) else {
      return SkipReason("it does not build here: \(make.errors.text.suffix(300))")
    }
    try FileManager.default.moveItem(atPath: copy + "/" + library, toPath: folder(library))
    return nil
  }
}
