import Foundation

/// Which checkpoint a standby would continue from: the file `checkpoint`, replaced by rename.
/// Without it, that is the end of precopy, checkpoint 0.
public struct CheckpointRecord: Codable, Equatable, Sendable {
  /// The first after precopy is 1.
  public var number: Int
  /// Which of the two sides of the cache holds its pages, until they are in the guest's RAM files.
  /// Checkpoints in a row may use the same one.
  public var side: Int
  /// Entries of the journal (sparse cache).
  public var entries: Int
  /// Bytes of device state, in `device-state-a` or `-b`: checkpoints take turns, for the one before
  /// this counts until the record is replaced.
  public var deviceStateSize: UInt64
  /// When it was committed, seconds since 1970.
  public var committedAt: Double

  /// A checkpoint that is complete.
  public init(number: Int, side: Int, entries: Int, deviceStateSize: UInt64, committedAt: Double) {
    self.number = number
    self.side = side
    self.entries = entries
    self.deviceStateSize = deviceStateSize
    self.committedAt = committedAt
  }

  /// Written by hand: this happens while the guest stands still, and an encoder takes a
  /// millisecond.
  var json: Data {
    Data(
      """
      {"number":\(number),"side":\(side),"entries":\(entries),\
      "deviceStateSize":\(deviceStateSize),"committedAt":\(committedAt)}

      """.utf8)
  }

  /// The file of the device state.
  var deviceStateFile: String { number % 2 == 1 ? "device-state-a" : "device-state-b" }
}
