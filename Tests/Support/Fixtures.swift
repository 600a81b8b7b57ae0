import Foundation

/// The recorded migrations of stock QEMUs in `Tests/Fixtures/captures`; its README tells what they
/// are.
public enum Fixtures {
  /// One recorded session: a folder.
  public struct Session: Sendable, CustomStringConvertible {
    /// The folder's name.
    public let name: String
    /// Files of what the source wrote: the first is the main channel, the others are multifd
    /// channels.
    public let sourceFiles: [URL]
    /// The file of what the destination answered on the main channel; nil when it said nothing.
    public let returnPath: URL?

    /// What the source wrote on the main channel.
    public var main: URL { sourceFiles[0] }
    /// The multifd channels; empty for a plain migration.
    public var channels: ArraySlice<URL> { sourceFiles.dropFirst() }
    /// True for a session with checkpoints.
    public var isCOLO: Bool { name.contains("-colo-") }
    /// The source's version as in the name: 72, 100 or 111.
    public var version: String {
      name.split(separator: "-").first { Int($0) != nil }.map(String.init) ?? ""
    }
    /// The name, so that a parametrised test's failure says which session it was.
    public var description: String { name }
  }

  /// `Tests/Fixtures`, found from where this file was compiled.
  public static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures")

  /// All sessions, by name. Empty when the fixtures are not there, which a test must not take for
  /// success.
  public static let sessions: [Session] = {
    let captures = folder.appending(path: "captures")
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: captures.path)) ?? []
    return names.sorted().compactMap { name in
      let session = captures.appending(path: name)
      let sources = (0..<64).map { session.appending(path: "conn\($0).c2s") }
        .prefix { files.fileExists(atPath: $0.path) }
      guard !sources.isEmpty else { return nil }
      let answers = session.appending(path: "conn0.s2c")
      return Session(
        name: name, sourceFiles: Array(sources),
        returnPath: files.fileExists(atPath: answers.path) ? answers : nil)
    }
  }()

  /// The session of that name.
  public static func session(_ name: String) -> Session? { sessions.first { $0.name == name } }

  /// The bytes of one of a session's files.
  public static func bytes(_ file: URL) throws -> [UInt8] { Array(try Data(contentsOf: file)) }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// The numbers of `seed`.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}
