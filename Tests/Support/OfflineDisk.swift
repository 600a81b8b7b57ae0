import Foundation

/// A disk's image next to what the guest in a store knows of it, before any guest runs: what the
/// guest itself would say later, and what a guest that mends its disk could not say any more.
public struct OfflineDisk: Sendable, CustomStringConvertible {
  /// Sectors that were compared.
  public private(set) var sectors = 0
  /// Those that are another write's than the table says.
  public private(set) var bad: Int = 0
  /// Of these: from a later write.
  public private(set) var newer = 0
  /// From an earlier one.
  public private(set) var older = 0
  /// Sectors of writes that were being made and had reached the disk.
  public private(set) var arrived = 0
  /// Those that had not.
  public private(set) var underWay = 0

  /// The first ones that are bad: the sector, the number of its write, and that in the table.
  public private(set) var examples: [(sector: Int, seq: UInt64?, known: UInt64)] = []

  /// For a row or a message.
  public var description: String {
    let some = examples.map { "\($0.sector): \($0.seq.map { "\($0)" } ?? "none"), \($0.known)" }
    return "\(sectors) sectors, \(bad) bad (\(newer) newer, \(older) older), "
      + "in flight \(arrived) on disk, \(underWay) not"
      + (some.isEmpty ? "" : ", sectors with write, and known: \(some.joined(separator: "; "))")
  }

  /// Compares disk `disk` of `table` with an image.
  public init(_ table: GuestTable, disk: Int, image: String) throws {
    let contents = try Data(contentsOf: URL(fileURLWithPath: image))
    let entries = table.disks[disk]
    guard contents.count == entries.count * Self.size else {
      throw LabError(
        "\(image) has \(contents.count) bytes, the guest's disk \(disk) "
          + "\(entries.count * Self.size)")
    }
    var flying: [Int: GuestTable.Entry] = [:]
    for flight in table.flights where flight.disk == disk {
      for sector in flight.sectors { flying[sector] = flight.entry }
    }
    contents.withUnsafeBytes { bytes in
      for (place, entry) in entries.enumerated() {
        // The image has exactly this many sectors.
        let sector = Sector(
          UnsafeRawBufferPointer(rebasing: bytes[place * Self.size..<(place + 1) * Self.size]),
          disk: disk, place: place)
        look(sector, place, entry, flying[place])
      }
    }
  }

  private mutating func look(
    _ sector: Sector, _ place: Int, _ entry: GuestTable.Entry, _ flying: GuestTable.Entry?
  ) {
    sectors += 1
    let isFlying = flying.map(sector.isOf) ?? false
    if isFlying { arrived += 1 } else if flying != nil { underWay += 1 }
    guard !isFlying, !sector.isOf(entry) else { return }
    bad += 1
    if examples.count < 4 { examples.append((place, sector.seq, entry.seq)) }
    if let seq = sector.seq { if seq > entry.seq { newer += 1 } else { older += 1 } }
  }

  private static let size = 512

  /// A sector as it is on a disk.
  private struct Sector {
    /// The write it is of; nil where it is none's, or zeroes.
    let seq: UInt64?
    private let nonce: UInt64
    private let isZero: Bool

    init(_ bytes: UnsafeRawBufferPointer, disk: Int, place: Int) {
      // Of 512 bytes that the caller has: 64 words.
      func word(_ index: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
      }
      var sum: UInt64 = 14_695_981_039_346_656_037
      var any: UInt64 = 0
      for index in 0..<63 {
        sum = (sum ^ word(index)) &* 1_099_511_628_211
        any |= word(index)
      }
      isZero = any | word(63) == 0
      let isWhole =
        word(0) == 0x4b53_4944_4446_544d && word(1) == disk && word(2) == place && word(63) == sum
      seq = isWhole ? word(3) : nil
      nonce = isWhole ? word(4) : 0
    }

    func isOf(_ entry: GuestTable.Entry) -> Bool {
      entry.nonce == 0 ? isZero : seq == entry.seq && nonce == entry.nonce
    }
  }
}
