import Migration
import Store

/// How the blocks of a guest come into a QEMU that waits, block by block: mapped where QEMU has the
/// store's file, sent otherwise.
///
/// Nothing is said about mapped blocks in the stream but their names and lengths: QEMU keeps what
/// no page was sent for. It has the capability `x-ignore-shared` for such blocks, and it is not
/// used: it needs the address of each within QEMU's own tree of memory, and it refuses pages of any
/// other block whose memory is shared.
package struct MemoryFit: Equatable {
  /// Blocks that QEMU has mapped.
  package var mapped: [String] = []
  /// Blocks that are sent.
  package var streamed: [String] = []
  /// Those of them whose memory in QEMU is the operator's own, shared: nothing is written there
  /// before the guest is QEMU's.
  package var withheld: Set<String> = []

  /// Decides.
  ///
  /// - Parameters:
  ///   - blocks: the guest's, in stream order.
  ///   - mapped: those for which QEMU was given the store's files.
  ///   - ramblock: what QEMU's monitor prints of its blocks: `info ramblock`.
  ///   - shared: ids of its backends that are shared memory.
  /// - Throws: when the guest has memory that this QEMU has not.
  package init(
    _ blocks: [Manifest.Block], mapped: Set<String>, ramblock: String, shared: Set<String>
  ) throws(Failure) {
    let sizes = Self.sizes(ramblock)
    for block in blocks {
      // What is printed for people may change: what it does not say is QEMU's to say.
      if !sizes.isEmpty { try Self.check(block, sizes[block.name]) }
      if mapped.contains(block.name) {
        self.mapped.append(block.name)
        continue
      }
      streamed.append(block.name)
      // A block is named by its backend, by that object's path, or by a device's path and its
      // backend.
      let backend = block.name.split(separator: "/").last.map(String.init) ?? block.name
      if shared.contains(backend) { withheld.insert(block.name) }
    }
  }

  /// The most bytes that each block of a QEMU can have: from a title, and lines of
  /// `NAME  4 KiB  0xOFFSET 0xUSED 0xTOTAL …`; a name may have spaces.
  package static func sizes(_ ramblock: String) -> [String: UInt64] {
    var sizes: [String: UInt64] = [:]
    for line in ramblock.split(whereSeparator: \.isNewline) {
      let words = line.split(separator: " ")
      guard let offset = words.firstIndex(where: { $0.hasPrefix("0x") }), offset >= 3,
        words.count >= offset + 3, words[offset + 2].hasPrefix("0x"),
        let size = UInt64(words[offset + 2].dropFirst(2), radix: 16)
      else { continue }
      sizes[words[..<(offset - 2)].joined(separator: " ")] = size
    }
    return sizes
  }

  private static func check(_ block: Manifest.Block, _ size: UInt64?) throws(Failure) {
    guard let size else {
      let hint =
        block.name.contains("/")
        ? "give it all devices that the primary has, those plugged in later included"
        : "give it all memory that the primary has, plugged in later included: if it is a DIMM, "
          + "-object memory-backend-ram,id=\(block.name),size=\(block.length) "
          + "-device pc-dimm,memdev=\(block.name)"
      throw Failure(
        .failed, "failover",
        "the guest has RAM block '\(block.name)' of \(text(block.length)), and this QEMU has none",
        hint: hint)
    }
    guard block.length <= size else {
      throw Failure(
        .failed, "failover",
        "RAM block '\(block.name)' has \(text(block.length)) in the guest and \(text(size)) in this QEMU",
        hint: "give it the primary's own -m, devices and firmware")
    }
  }

  private static func text(_ bytes: UInt64) -> String {
    bytes >= 1 << 20 && bytes % (1 << 20) == 0 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
  }
}
