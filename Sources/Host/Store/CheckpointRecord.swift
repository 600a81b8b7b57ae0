import Foundation

/// Which checkpoint a standby would continue from: the file `checkpoint`, replaced by rename.
/// Without it, that is the end of precopy, checkpoint 0.
///
/// It has a part for each of what a checkpoint commits, so that one rename commits all of it:
///
///     {"version":2, "number":N, "committedAt":T, "ram":{"side":S,"entries":E}, "devices":{"size":B},
///      "disks":{"NAME":K, …}}
///
/// Version 1, as 0.1 wrote it, had no disks and no parts: those are read too.
public struct CheckpointRecord: Equatable, Sendable {
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
  /// The last epoch of each disk that belongs to it, by name.
  public var disks: [String: Int]

  /// A checkpoint that is complete.
  public init(
    number: Int, side: Int, entries: Int, deviceStateSize: UInt64, committedAt: Double,
    disks: [String: Int] = [:]
  ) {
    self.number = number
    self.side = side
    self.entries = entries
    self.deviceStateSize = deviceStateSize
    self.committedAt = committedAt
    self.disks = disks
  }

  /// Written by hand: this happens while the guest stands still, and an encoder takes a
  /// millisecond. Names of disks have nothing in them that JSON escapes (``Manifest/Disk/isName(_:)``).
  package var json: Data {
    let disks = disks.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
    return Data(
      """
      {"version":2,"number":\(number),"committedAt":\(committedAt),\
      "ram":{"side":\(side),"entries":\(entries)},"devices":{"size":\(deviceStateSize)},\
      "disks":{\(disks.joined(separator: ","))}}

      """.utf8)
  }

  /// The file of the device state.
  var deviceStateFile: String { number % 2 == 1 ? "device-state-a" : "device-state-b" }
}

extension CheckpointRecord: Decodable {
  private enum Key: String, CodingKey {
    case version, number, committedAt, ram, devices, disks, side, entries, size, deviceStateSize
  }

  /// Reads either version.
  public init(from decoder: any Decoder) throws {
    let record = try decoder.container(keyedBy: Key.self)
    let version = try record.decodeIfPresent(Int.self, forKey: .version) ?? 1
    guard (1...2).contains(version) else {
      throw DecodingError.dataCorruptedError(
        forKey: .version, in: record, debugDescription: "version \(version)")
    }
    number = try record.decode(Int.self, forKey: .number)
    committedAt = try record.decode(Double.self, forKey: .committedAt)
    if version == 1 {
      side = try record.decode(Int.self, forKey: .side)
      entries = try record.decode(Int.self, forKey: .entries)
      deviceStateSize = try record.decode(UInt64.self, forKey: .deviceStateSize)
      disks = [:]
      return
    }
    let ram = try record.nestedContainer(keyedBy: Key.self, forKey: .ram)
    side = try ram.decode(Int.self, forKey: .side)
    entries = try ram.decode(Int.self, forKey: .entries)
    deviceStateSize = try record.nestedContainer(keyedBy: Key.self, forKey: .devices)
      .decode(UInt64.self, forKey: .size)
    disks = try record.decode([String: Int].self, forKey: .disks)
  }
}
