import Foundation

/// What a QEMU's monitor prints of its memory, for people: `info ramblock` and `info mtree`. Read tolerantly, for
/// versions differ: what is not understood is not there, and whoever asks for it goes without.
package struct MemoryTree {
  /// A RAM block of a QEMU.
  package struct Block: Equatable {
    /// As in a stream.
    package var name: String
    /// The most bytes that it can have.
    package var size: UInt64
  }

  /// QEMU's blocks; empty when it does not say.
  package let blocks: [Block]
  /// RAM regions by name: each one's size and where it begins within the region that contains it. nil: the tree
  /// says two things about it.
  private var regions: [String: (size: UInt64, address: UInt64)?] = [:]

  /// - Parameters:
  ///   - ramblock: of `info ramblock`: a title, then name, page size, offset, used, total, perhaps more.
  ///   - mtree: of `info mtree`: sections, each a tree by indentation of
  ///     `START-END (prio N, TYPE): NAME`, addresses hexadecimal and absolute within the section.
  package init(ramblock: String, mtree: String) {
    blocks = ramblock.split(whereSeparator: \.isNewline).compactMap(Self.block)
    var path: [(indent: Int, start: UInt64)] = []
    for line in mtree.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      guard let region = Region(line) else {
        path = []
        continue
      }
      while let last = path.last, last.indent >= region.indent { path.removeLast() }
      // Two columns a level. Where one is left out, the region around was not printed, and nobody knows where
      // it begins.
      let isChild = path.last.map { region.indent == $0.indent + 2 } ?? (region.indent == 2)
      if isChild, region.isRAM { note(region, within: path.last?.start ?? 0) }
      path.append((region.indent, region.start))
    }
  }

  private mutating func note(_ region: Region, within start: UInt64) {
    guard region.start >= start else { return }
    let found = (region.size, region.start - start)
    if let known = regions[region.name] {
      if let known, known == found { return }
      regions[region.name] = .some(nil)
    } else {
      regions[region.name] = found
    }
  }

  /// Where a block begins within the region that contains it, which is what QEMU compares for shared blocks.
  /// nil: it does not say, or says two things.
  ///
  /// - Parameter size: bytes of the block, which the region must have too.
  package func address(of name: String, size: UInt64) -> UInt64? {
    guard let known = regions[name], let known, known.size == size else { return nil }
    return known.address
  }

  /// `  NAME  4 KiB  0xOFFSET 0xUSED 0xTOTAL …`; a name may have spaces.
  private static func block(_ line: Substring) -> Block? {
    let words = line.split(separator: " ")
    guard let offset = words.firstIndex(where: { $0.hasPrefix("0x") }), offset >= 3,
      words.count >= offset + 3, let size = hex(words[offset + 2])
    else { return nil }
    return Block(name: words[..<(offset - 2)].joined(separator: " "), size: size)
  }

  fileprivate static func hex(_ text: Substring) -> UInt64? {
    UInt64(text.hasPrefix("0x") ? text.dropFirst(2) : text, radix: 16)
  }

  /// One line of the tree.
  private struct Region {
    let indent: Int
    let start: UInt64
    let size: UInt64
    let isRAM: Bool
    let name: String

    init?(_ line: Substring) {
      indent = line.prefix { $0 == " " }.count
      let text = line.dropFirst(indent)
      guard let open = text.firstIndex(of: "("), let close = text.range(of: "): ") else {
        return nil
      }
      let range = text[..<open].split(separator: "-")
      guard range.count == 2, let first = hex(range[0]),
        let last = hex(range[1].prefix { $0 != " " }), last >= first
      else { return nil }
      (start, size) = (first, last - first &+ 1)
      var name = text[close.upperBound...]
      let isAlias = name.hasPrefix("alias ")
      // `(prio 0, ram)`; a pmem's is `nv-ram`.
      let kind = text[open..<close.lowerBound].split(separator: " ").last ?? ""
      isRAM = kind == "ram" && !isAlias
      if name.hasSuffix(" [disabled]") { name = name.dropLast(11) }
      self.name = String(name)
    }
  }
}
