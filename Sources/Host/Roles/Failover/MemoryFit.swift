import Store
import Wire

/// How the blocks of a guest come into a QEMU that waits, block by block: mapped where QEMU has the store's file,
/// sent otherwise.
package struct MemoryFit: Equatable {
  /// Blocks that QEMU has mapped.
  package var mapped: [String] = []
  /// Blocks that are sent.
  package var streamed: [String] = []
  /// Those of them whose memory in QEMU is a file of the operator's, shared: nothing is written there before the
  /// guest is QEMU's.
  package var withheld: Set<String> = []
  /// The address of each block in stream order; nil without `x-ignore-shared`.
  ///
  /// With it QEMU leaves shared blocks alone, also at the end, where it would force their files to the disk. It wants
  /// the address of each, and it takes no pages for a shared block that is not the store's. Where one of these cannot
  /// be had it is left off: no page of a mapped block is sent, and that is all it takes.
  package var addresses: [UInt64]?

  /// A backend of a QEMU, as `query-memdev` tells.
  package struct Backend {
    package var id: String
    package var isShared: Bool
    package init(id: String, isShared: Bool) { (self.id, self.isShared) = (id, isShared) }
  }

  /// Decides.
  ///
  /// - Parameters:
  ///   - blocks: the guest's, in stream order.
  ///   - mapped: those for which QEMU was given the store's files.
  ///   - tree: what QEMU has.
  /// - Throws: when the guest has memory that this QEMU has not.
  package init(
    _ blocks: [Manifest.Block], mapped: Set<String>, tree: MemoryTree, backends: [Backend]
  ) throws(Failure) {
    let sizes = Dictionary(tree.blocks.map { ($0.name, $0.size) }) { first, _ in first }
    var addresses: [UInt64]? = []
    for block in blocks {
      if !sizes.isEmpty { try Self.check(block, sizes[block.name]) }
      // A block is named by its backend, by that object's path, or by a device's path and its backend.
      let name = block.name.split(separator: "/").last.map(String.init) ?? block.name
      if mapped.contains(block.name) {
        self.mapped.append(block.name)
        let address =
          tree.address(of: block.name, size: block.length)
          ?? tree.address(of: name, size: block.length)
        if let address { addresses?.append(address) } else { addresses = nil }
      } else {
        streamed.append(block.name)
        if backends.contains(where: { $0.id == name && $0.isShared }) {
          withheld.insert(block.name)
          addresses = nil
        }
        addresses?.append(0)
      }
    }
    self.addresses = self.mapped.isEmpty ? nil : addresses
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

  /// The block list of the stream.
  func descriptions(_ blocks: [Manifest.Block]) -> [RAMBlockDescription] {
    blocks.enumerated().map { index, block in
      RAMBlockDescription(
        name: block.name, usedLength: block.length, guestAddress: addresses?[index])
    }
  }
}
