import CLinux
import Foundation
import Glibc
import Memory
import Synchronization
import System

/// What a manifest says of where the guest is: all that changes it goes this way, and obeys
/// ``Manifest/State``.
extension Store {
  /// What the manifest says.
  struct Says {
    /// Or may say: a write that has failed may have come through all the same, where only the
    /// folder could not be synced.
    var state: Manifest.State
    /// This process has begun a hand-over, and it was not refused: there is no other beside it, or
    /// after it, not even by force.
    var isHandingOver = false
  }

  /// Makes everything durable and says that the guest is here. When this returns, it is, whatever
  /// happens next.
  ///
  /// - Parameters:
  ///   - state: `held`, or `standby` for a guest of which checkpoints will come, or `unsettled` for
  ///     one whose source does not know yet.
  ///   - durable: whether it must survive the machine, not only this process.
  public func hold(
    _ manifest: Manifest, as state: Manifest.State = .held, blocks: [RAMBlock], earlyState: Data,
    deviceState: Data, vmDescription: Data, durable: Bool = true
  ) throws(StoreError) {
    // Before anything is replaced.
    try expect(state)
    for block in blocks where !block.isMapped {
      throw StoreError(
        .displaced, "the memory of \(block.name) is no longer that of \(path)/ram/\(block.name)",
        hint: "a backend has mapped other memory there: multifd-harness says which one does")
    }
    if durable {
      try force(blocks)
      try folder.syncName()
    }
    try folder.replace("early-state", with: earlyState, durable: durable)
    try folder.replace("device-state", with: deviceState, durable: durable)
    try folder.replace("vm-description", with: vmDescription, durable: durable)
    var manifest = manifest
    manifest.state = state
    manifest.earlyStateSize = UInt64(earlyState.count)
    manifest.deviceStateSize = UInt64(deviceState.count)
    manifest.vmDescriptionSize = UInt64(vmDescription.count)
    manifest.heldAt = Date.now.formatted(.iso8601)
    let data = try Self.json(manifest)
    try makeReserve(for: data.count)
    try step(to: state)
    try folder.replace("manifest.json", with: data)
  }

  /// Has what is dirty of a guest's RAM written to disk, and does not wait for that; what has no
  /// disk has nothing to do.
  public func startWriting(_ blocks: [RAMBlock]) {
    for block in blocks { clinux_start_writing(block.descriptor) }
  }

  /// Forces the RAM of a guest to disk. To be called when all of it is there, too, so that less is
  /// left to do when its source waits for ``hold(_:as:blocks:earlyState:deviceState:vmDescription:durable:)``.
  public func force(_ blocks: [RAMBlock]) throws(StoreError) {
    for block in blocks {
      // Pages written through the mapping are the file's pages: fsync writes them too.
      guard fsync(block.descriptor) == 0 else {
        throw StoreError(SystemError("fsync"), at: "\(path)/ram/\(block.name)")
      }
    }
    // The files' names, too: a RAM file that no folder names is lost with the machine.
    if !blocks.isEmpty { try folder.syncFolder("ram") }
  }

  /// The source of a guest that was held as `unsettled` has been told so: from here on it is
  /// `held`.
  public func settle() throws(StoreError) {
    guard var manifest = try folder.manifest() else {
      throw StoreError(.empty, "\(path) is no store: there is no manifest.json")
    }
    manifest.state = .held
    try step(to: .held)
    try write(manifest)
  }

  /// The same for a store whose process has ended before it could; nothing for one that says `held`
  /// already.
  public static func settle(_ path: String) throws(StoreError) {
    let (store, manifest) = try open(path, handedOver: true)
    if manifest.state != .held { try store.settle() }
  }

  /// The guest of a standby has ended by itself, or is protected no more. From here on it is opened
  /// only for an operator who answers for it.
  ///
  /// - Parameters:
  ///   - why: in one line.
  ///   - goesOn: it has not ended, but goes on alone where it was protected.
  public func noteEnded(_ why: String, goesOn: Bool = false) throws(StoreError) {
    guard var manifest = try folder.manifest(), manifest.state == .standby else { return }
    manifest.ended = why
    manifest.goesOn = goesOn ? true : nil
    try write(manifest)
  }

  /// From here on the manifest counts as saying `next`: to be called directly before it is written.
  ///
  /// - Parameter before: for a hand-over that was refused, see
  ///   ``Manifest/State/leads(to:before:forced:)``.
  func step(to next: Manifest.State, before: Manifest.State? = nil) throws(StoreError) {
    try expect(next, before: before)
    says.withLock { says in
      says.state = next
      // Whoever answers for one hand-over does not answer for a second beside it.
      if before != nil { says.isHandingOver = false }
      if before == nil, next == .handingOver { says.isHandingOver = true }
    }
  }

  /// Makes sure that the manifest may say `next` now. If not, that is a fault of this program.
  private func expect(
    _ next: Manifest.State, before: Manifest.State? = nil
  ) throws(StoreError) {
    let now = says.withLock { $0 }
    let forced = isForced && !now.isHandingOver
    guard !now.state.leads(to: next, before: before, forced: forced) else { return }
    throw StoreError(
      outOfTurn: "\(path) says '\(now.state.rawValue)', and cannot say '\(next.rawValue)' now")
  }

  /// Replaces the manifest, also where there is no room any more: see ``withReserve(_:)``.
  func write(_ manifest: Manifest) throws(StoreError) {
    let data = try Self.json(manifest)
    try withReserve { () throws(StoreError) in try folder.replace("manifest.json", with: data) }
  }

  private static func json(_ manifest: Manifest) throws(StoreError) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(manifest) else {
      throw StoreError(.system, "the manifest cannot be written as JSON")
    }
    return data
  }
}
