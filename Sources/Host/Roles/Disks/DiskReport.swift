import Foundation
import Store

/// How far a disk of a standby is, as `multifd status` shows it: the file `disks` of a store.
public struct DiskReport: Codable, Equatable, Sendable {
  /// The name of its export.
  public var name: String
  /// Bytes.
  public var size: Int
  /// `syncing`, `synced`, `protected`, `lost`.
  public var state: String
  /// Why it is lost.
  public var reason: String?
  /// Bytes that have come since the first copy began.
  public var covered: Int
  /// Whether a mirror is connected.
  public var connected: Bool
  /// The epoch that writes go to.
  public var epoch: Int
  /// Bytes of its log.
  public var epochBytes: Int
  /// Bytes of committed logs that are not in the image yet.
  public var backlog: Int
  /// Requests that have been answered.
  public var requests: Int

  enum CodingKeys: String, CodingKey {
    case name, size, state, reason, covered, connected, epoch, backlog, requests
    case epochBytes = "epoch-bytes"
  }

  init(_ name: String, _ size: Int, _ disk: EpochDisk.Status) {
    (self.name, self.size, state, reason) = (name, size, disk.phase.rawValue, disk.reason)
    (covered, connected, epoch) = (disk.covered, disk.isConnected, disk.epoch)
    (epochBytes, backlog, requests) = (disk.epochBytes, disk.backlog, disk.requests)
  }

  static func write(_ reports: [DiskReport], to store: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    try StoreRecord.disks.write(try encoder.encode(reports), to: store)
  }

  /// What a store says of its disks; nothing where it says nothing.
  public static func read(from store: String) -> [DiskReport] {
    guard let data = Store.Look.record(.disks, of: store) else { return [] }
    return (try? JSONDecoder().decode([DiskReport].self, from: data)) ?? []
  }
}
