import Glibc
import Memory
import Wire

/// The UUID of `-uuid` as a PC's firmware shows it to the guest, in the SMBIOS tables below 1 MiB.
/// It is nowhere else in a stream without multifd channels or validate-uuid. The guest could have
/// changed it: a destination that has another one says no, which is all that can happen.
enum FirmwareUUID {
  /// - Returns: nil where there are no such tables, or they name none.
  static func find(in blocks: [RAMBlock]) -> VMUUID? {
    for block in blocks where block.length >= segment.upperBound {
      guard let extents = try? block.dataExtents(),
        let found = find(in: block, extents)
      else { continue }
      return found
    }
    return nil
  }

  /// Where a PC's firmware puts the entry point, at a multiple of 16.
  private static let segment = 0xf0000..<0x100000

  private static func find(in block: RAMBlock, _ extents: [Range<Int>]) -> VMUUID? {
    guard let bytes = copy(segment, of: block, extents) else { return nil }
    for at in stride(from: 0, through: bytes.count - 32, by: 16) {
      guard let table = table(Array(bytes[at..<at + 32])),
        let structures = copy(table, of: block, extents),
        let uuid = uuid(structures)
      else { continue }
      return uuid
    }
    return nil
  }

  /// The place of the structures, from an entry point of 32 or 64 bits.
  private static func table(_ entry: [UInt8]) -> Range<Int>? {
    func number(_ range: Range<Int>) -> Int {
      range.reversed().reduce(0) { $0 << 8 | Int(entry[$1]) }
    }
    let (length, start, size): (Int, Int, Int)
    if entry.starts(with: Array("_SM3_".utf8)) {
      (length, start, size) = (Int(entry[6]), number(16..<23), number(12..<16))
    } else if entry.starts(with: Array("_SM_".utf8)) {
      (length, start, size) = (Int(entry[5]), number(24..<28), number(22..<24))
    } else {
      return nil
    }
    guard (16...32).contains(length), entry[..<length].reduce(0, &+) == 0, size <= 1 << 16 else {
      return nil
    }
    return start..<start + size
  }

  /// System information is structure type 1; the first three fields of its UUID are little-endian.
  private static func uuid(_ structures: [UInt8]) -> VMUUID? {
    var at = 0
    while at + 4 <= structures.count, structures[at + 1] >= 4 {
      let end = at + Int(structures[at + 1])
      if structures[at] == 1 {
        guard at + 24 <= min(end, structures.count) else { return nil }
        let bytes = Array(structures[at + 8..<at + 24])
        let order = [3, 2, 1, 0, 5, 4, 7, 6] + Array(8..<16)
        guard bytes.contains(where: { $0 != 0 }), bytes.contains(where: { $0 != 0xff }) else {
          return nil
        }
        return VMUUID(bytes: order.map { bytes[$0] })
      }
      // Strings follow, up to two NULs.
      at = end
      while at + 1 < structures.count, structures[at] != 0 || structures[at + 1] != 0 { at += 1 }
      at += 2
    }
    return nil
  }

  /// A part of a block; holes are zero without being looked at. Nil when it is not inside.
  private static func copy(
    _ range: Range<Int>, of block: RAMBlock, _ extents: [Range<Int>]
  ) -> [UInt8]? {
    guard range.lowerBound >= 0, range.upperBound <= block.length else { return nil }
    var bytes = [UInt8](repeating: 0, count: range.count)
    for extent in extents {
      let part = extent.clamped(to: range)
      guard !part.isEmpty else { continue }
      bytes.withUnsafeMutableBytes {
        // `part` lies inside the block's mapping, has data, and is as long here.
        ($0.baseAddress! + part.lowerBound - range.lowerBound).copyMemory(
          from: block.base + part.lowerBound, byteCount: part.count)
      }
    }
    return bytes
  }
}
