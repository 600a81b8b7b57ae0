// Hold: a guest in a store, as those see it who go on with it.

import COLO
import Memory
import Store

/// A guest as it can be continued from a store: what was held, or a standby's last committed
/// checkpoint.
package struct HeldGuest {
  /// Its store, locked.
  package let store: Store
  /// What the store said when it was opened.
  package let manifest: Manifest
  /// RAM blocks in stream order, for reading.
  package let blocks: [RAMBlock]
  /// Sections that come before the RAM's pages.
  package let earlyState: [UInt8]
  /// The devices' sections and the closing EOF byte.
  package let deviceState: [UInt8]
  /// The VM description element; empty if there is none.
  package let vmDescription: [UInt8]
  /// Which checkpoint it is; nil for a guest that was simply held.
  package let checkpoint: Int?

  /// Of a standby's guest: locked.
  private let disks: GuestDisks?

  /// Opens a store. A checkpoint whose pages were still being copied when its process died is
  /// copied now: from here on the RAM files are that checkpoint, and the disks are.
  ///
  /// - Parameters:
  ///   - force: also a guest that was handed over, or of which nobody knows where it runs.
  ///   - confirm: called when all of it has been found to be in order, and before its disks are
  ///     changed. Where it throws a primary that has gone on finds there all that it was told is
  ///     written.
  package init(
    openingStore path: String, force: Bool, confirm: (HeldGuest) throws -> Void = { _ in }
  ) throws {
    let (store, manifest) = try Store.open(path, handedOver: force)
    self.store = store
    self.manifest = manifest
    // Nothing of the cache is still to be copied.
    var isWhole = true
    let record = try store.checkpoint()
    // Only a standby's, as its memory below.
    disks = manifest.state == .standby ? try store.disks(of: manifest, at: record) : nil
    if let record {
      // Only a standby's: once a hand-over was begun the copy had been done, and the RAM files may
      // be a running QEMU's memory.
      if manifest.state == .standby, try store.needsRedo(record) {
        isWhole = try Self.redo(record, manifest, store)
      }
      checkpoint = record.number
      deviceState = try store.deviceState(record)
      // A checkpoint brings no description, and the one of precopy tells of other sizes, perhaps.
      vmDescription = []
    } else {
      checkpoint = manifest.state == .standby ? 0 : nil
      deviceState = try store.deviceState(manifest)
      vmDescription = try store.vmDescription(manifest)
    }
    // The standby is gone, and nothing in its cache counts any more; with a mirror that is as much
    // as the guest.
    if manifest.state == .standby, isWhole { store.dropCache() }
    earlyState = try store.earlyState(manifest)
    blocks = try manifest.blocks.map { try store.openBlock($0, pageSize: manifest.pageSize) }
    try confirm(self)
    try disks?.redo()
  }

  /// The guest is about to be given away, see ``HandOver/begin(to:from:)``.
  func handOver(to taker: String) throws(HandOver.NotBegun) -> HandOver {
    try HandOver.begin(to: taker, from: store)
  }

  /// - Returns: whether the store says that it is done.
  private static func redo(
    _ record: CheckpointRecord, _ manifest: Manifest, _ store: Store
  ) throws -> Bool {
    let guest = try manifest.blocks.map {
      try store.openBlock($0, pageSize: manifest.pageSize, writable: true)
    }
    let cache = try CacheFiles(store, guest, pageSize: manifest.pageSize)
    let stage = COLOStage(guest: guest, cache: try cache.open(manifest.cache))
    try stage.redo(COLOStage.Sealed(side: record.side, entries: record.entries))
    // Without room for the note the copy would be repeated, which changes nothing.
    do { try store.noteRedone(record.number, usingReserve: true) } catch {
      guard error.kind == .full else { throw error }
      return false
    }
    return true
  }
}
