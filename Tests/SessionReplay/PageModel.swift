import CLinux
import Foundation
import Memory
import TestSupport
import Wire

/// A guest's RAM as naively as it can be written down: a dictionary of pages, steps applied one by
/// one. It knows nothing of caches, bitmaps, chunks, holes or threads, so that the stage can be
/// compared with it.
public struct PageModel {
  /// By block, then by offset: pages that are not known to be zero.
  public private(set) var pages: [[UInt64: [UInt8]]]
  /// The same when the last checkpoint was complete, or the migration.
  public private(set) var committed: [[UInt64: [UInt8]]]
  /// Pages that came since then.
  public private(set) var touched: [Set<UInt64>]

  private let script: StreamScript
  private let inputs: [PacketInput]
  private let scratch = Scratch()

  /// All zero.
  public init(_ script: StreamScript) throws {
    self.script = script
    pages = script.blocks.map { _ in [:] }
    committed = pages
    touched = script.blocks.map { _ in [] }
    inputs = try script.channels.map { try PacketInput($0, of: script.channels.count) }
  }

  /// Applies one step.
  public mutating func apply(_ step: StreamScript.Step) throws {
    switch step {
    case .page(let block, let offset, let bytes): set(block, offset, Array(script.main[bytes]))
    case .zero(let block, let offset, let fill):
      set(block, offset, [UInt8](repeating: fill, count: script.decoder.limits.pageSize))
    case .packet(let channel, let index): try packet(channel, index)
    case .precopyComplete, .checkpointComplete:
      committed = pages
      touched = script.blocks.map { _ in [] }
    case .marker, .checkpointBegin: break
    }
  }

  private mutating func packet(_ channel: Int, _ index: Int) throws {
    let packet = script.channels[channel].packets[index]
    let size = packet.header.pageSize
    for offset in packet.zero {
      set(packet.block, offset, [UInt8](repeating: 0, count: size))
    }
    let normal = (0..<packet.normal.count).map { UInt64($0 * size) }
    try normal.withUnsafeBufferPointer {
      try inputs[channel].receive(packet, into: scratch.bytes.baseAddress!, normal: $0)
    }
    for (index, offset) in packet.normal.enumerated() {
      set(packet.block, offset, Array(scratch.bytes[index * size..<(index + 1) * size]))
    }
  }

  private mutating func set(_ block: Int, _ offset: UInt64, _ page: [UInt8]) {
    pages[block][offset] = page
    touched[block].insert(offset)
  }

  /// Compares a block of real memory with a block of the model.
  ///
  /// - Returns: the first offset at which a page differs; nil if none does.
  public static func difference(_ block: RAMBlock, _ pages: [UInt64: [UInt8]]) -> UInt64? {
    difference(block.descriptor, length: block.length, pageSize: block.pageSize, pages)
  }

  /// The same of a file that has so many bytes.
  public static func difference(
    _ descriptor: Int32, length: Int, pageSize size: Int, _ pages: [UInt64: [UInt8]]
  ) -> UInt64? {
    let zero = [UInt8](repeating: 0, count: size)
    var bytes = [UInt8](repeating: 0, count: 256 * size)
    // memcmp, for == looks at one byte at a time.
    func isSame(_ page: [UInt8], _ other: UnsafeRawPointer) -> Bool {
      page.count == size && memcmp(page, other, size) == 0
    }
    // What has not been looked at in the end lies in holes of the file, and reads as zero.
    var holes = Set(pages.keys)
    var offset = 0
    while offset < length {
      let data = Int(clinux_seek_data(descriptor, Int64(offset)))
      if data < 0, errno == ENXIO { break }
      guard data >= 0 else { return UInt64(offset) }
      offset = data / size * size
      let count = min(bytes.count, length - offset)
      // Read, not looked at through the mapping: on a full file system that is a SIGBUS where the
      // file has a hole.
      guard pread(descriptor, &bytes, count, off_t(offset)) == count else {
        return UInt64(offset)
      }
      for start in stride(from: 0, to: count, by: size) {
        let place = UInt64(offset + start)
        // A page's bytes lie from there on.
        let isRight = bytes.withUnsafeBytes {
          isSame(pages[place] ?? zero, $0.baseAddress! + start)
        }
        guard isRight else { return place }
        holes.remove(place)
      }
      offset += count
    }
    return holes.filter { !isSame(pages[$0] ?? zero, zero) }.min()
  }

  /// Whether two blocks are the same, where a page that is not there is zero.
  public static func agree(_ one: [UInt64: [UInt8]], _ other: [UInt64: [UInt8]]) -> Bool {
    let zero = [UInt8](repeating: 0, count: 4096)
    return Set(one.keys).union(other.keys).allSatisfy { place in
      let (one, other) = (one[place] ?? zero, other[place] ?? zero)
      return one.count == other.count && memcmp(one, other, one.count) == 0
    }
  }

  /// Compares all blocks; nil if all pages are equal, else a sentence.
  public static func difference(_ blocks: [RAMBlock], _ pages: [[UInt64: [UInt8]]]) -> String? {
    for (block, pages) in zip(blocks, pages) {
      if let offset = difference(block, pages) {
        return "\(block.name) at 0x\(String(offset, radix: 16))"
      }
    }
    return nil
  }

  /// Room for a packet's pages.
  private final class Scratch {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 19, alignment: 4096)
    deinit { bytes.deallocate() }
  }
}
