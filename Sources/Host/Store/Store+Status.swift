import Foundation

extension Store {
  /// What a store says about itself to somebody who does not lock it.
  public struct Status: Sendable {
    /// The manifest; nil if there is none.
    public var manifest: Manifest?
    /// The checkpoint that counts.
    public var checkpoint: CheckpointRecord?
    /// What the process that serves it last said it was doing.
    public var state: String?
    /// Whether a process has the store open.
    public var inUse: Bool
    /// What the guest's RAM takes and lies on; nil where there is none, or it may not be looked at.
    public var memory: MemoryUse?
  }

  /// Reads a store without disturbing whoever uses it. It may be somebody else's: no link is
  /// followed, nothing but regular files is read, and what they say is for reading only.
  public static func status(of path: String) throws(StoreError) -> Status {
    let folder = try StoreFolder(path, ofAnybody: true)
    let state = try folder.contents("state", ofAnybody: true).map {
      String(decoding: $0.prefix(200), as: UTF8.self)
    }
    let manifest = try folder.manifest(ofAnybody: true)
    return Status(
      manifest: manifest,
      checkpoint: try folder.checkpoint(ofAnybody: true),
      state: state?.trimmingCharacters(in: .whitespacesAndNewlines),
      inUse: StoreLock.isTaken(folder), memory: manifest.flatMap { memoryUse(folder, $0) })
  }
}
