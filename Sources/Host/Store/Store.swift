import Foundation
import Glibc
import Memory
import System

/// A guest held outside QEMU, in a folder:
///
///     manifest.json     what is here; the last file to be written, by rename
///     ram/NAME          one file a RAM block, byte for byte, holes for pages never written
///     early-state       sections that came before the RAM's pages (usually empty)
///     device-state      the devices' sections and the closing EOF byte, as the source sent them
///     vm-description    the VM description element
///     lock              held by the process that uses the store; what is in it marks the folder as a store
///     qemu.log          what QEMUs have said that were to continue the guest
///     spare, rehearsal  which of them waits, and how the last try of a failover went
///     reserve           room for what is to be written when there is no other: that the guest has gone
///
/// A guest is here if and only if the manifest says `held`. Everything before that rename is a
/// migration whose guest still runs at its source, and the next `receive` may sweep it away.
public final class Store: Sendable {
  private let lock: StoreLock
  var folder: StoreFolder { lock.folder }

  private init(_ lock: StoreLock) { self.lock = lock }

  /// The folder.
  public var path: String { folder.path }

  /// Every name that a store may have in its folder, beside `lock`: what ``sweep()`` removes, and all that it removes.
  static let fileNames: Set<String> = {
    let files = [
      "manifest.json", "early-state", "device-state", "vm-description", "reserve", "device-state-a",
      "device-state-b", "checkpoint", "redone", "state", "spare", "rehearsal", "qemu.log",
    ]
    return Set(files + files.map { $0 + ".new" } + ["ram", "cache"])
  }()

  /// Opens a folder for a guest to come; makes it if it is not there, sweeps what an interrupted
  /// migration left. If nothing comes of it, the folder is as it was, or gone, when the store is let go.
  ///
  /// - Parameter connections: how many the guest will come over, as far as that is known.
  /// - Throws: `.foreign` if something is in the folder that is no store's; `.untrusted` if others can write to it;
  ///   `.occupied` if a guest is held here, or was: its files are the last trace of it, and removing them is for the
  ///   operator to say.
  public static func prepare(_ path: String, connections: Int = 0) throws(StoreError) -> Store {
    try Descriptors.expectRoom(for: connections)
    let store = Store(try StoreLock.take(path, for: .reception))
    if let manifest = try store.folder.manifest() {
      switch manifest.state {
      case .held, .standby:
        throw StoreError(.occupied, "\(path) holds a guest already (\(manifest.machine))")
      case .handedOver, .handingOver, .unsettled:
        throw StoreError(
          .occupied, "\(path) holds a guest that is \(manifest.state.rawValue)")
      case .receiving: break
      }
    }
    store.sweep()
    return store
  }

  /// Removes what a process that was ended has left of a guest that is not to be held: of a migration, or of a standby
  /// that was never ready.
  public static func sweepAbandoned(_ path: String) throws(StoreError) {
    let store = Store(try StoreLock.take(path, for: .reception))
    let state = try store.folder.manifest()?.state
    guard [nil, .receiving, .standby].contains(state) else { return }
    store.sweep()
  }

  /// Opens a folder that holds a guest.
  ///
  /// - Parameter handedOver: also a guest that a destination has taken already (not one that a failover has), or that
  ///   may be torn.
  public static func open(
    _ path: String, handedOver: Bool = false
  ) throws(StoreError) -> (store: Store, manifest: Manifest) {
    try Descriptors.expectRoom()
    let store = Store(try StoreLock.take(path, for: .guest))
    return (store, try expectGuest(store.folder, handedOver: handedOver))
  }

  /// What a folder says about the guest in it.
  ///
  /// - Throws: when there is none, or it is not to be continued from here.
  static func expectGuest(
    _ folder: StoreFolder, handedOver: Bool
  ) throws(StoreError) -> Manifest {
    let path = folder.path
    guard let manifest = try folder.manifest() else {
      throw StoreError(.empty, "\(path) is no store: there is no manifest.json")
    }
    switch manifest.state {
    case .receiving: throw StoreError(.empty, "\(path) holds no guest: its migration did not end")
    case .handedOver where manifest.failedOver == true:
      throw StoreError(
        .used,
        "the guest of \(path) went on in these files (\(manifest.handedOverTo ?? "a failover")): its RAM "
          + "is newer than its devices' state")
    case .handedOver where !handedOver:
      throw StoreError(
        .handedOver, "the guest of \(path) was handed to \(manifest.handedOverTo ?? "another host")"
      )
    case .handingOver where !handedOver:
      throw StoreError(
        .handedOver,
        "a hand-over of the guest of \(path) to \(manifest.handedOverTo ?? "a host") did not end: "
          + "it may run there")
    case .standby where manifest.isFromBeforeBoot && !handedOver:
      throw StoreError(
        .stale,
        "the machine has been started since the standby of \(path) ran: its checkpoints were never forced to "
          + "disk, and may be torn")
    case .unsettled where !handedOver:
      throw StoreError(
        .handedOver, "the source of the guest of \(path) could not be told: it may run there")
    case .held, .standby, .unsettled, .handedOver, .handingOver: return manifest
    }
  }

  /// A RAM block in a new file, all zero.
  public func makeBlock(_ block: Manifest.Block, pageSize: Int) throws(StoreError) -> RAMBlock {
    try folder.makeFolder("ram")
    let file = try folder.create(block.file)
    do {
      return try RAMBlock(
        name: block.name, length: Int(block.length), pageSize: pageSize, emptyFile: file)
    } catch { throw StoreError(error, at: path) }
  }

  /// A RAM block that is held here, for reading.
  public func openBlock(_ block: Manifest.Block, pageSize: Int) throws(StoreError) -> RAMBlock {
    try Self.openBlock(block, pageSize: pageSize, in: folder)
  }

  static func openBlock(
    _ block: Manifest.Block, pageSize: Int, in folder: StoreFolder
  ) throws(StoreError) -> RAMBlock {
    let file = try folder.open(block.file, size: block.length)
    do {
      return try RAMBlock(
        name: block.name, length: Int(block.length), pageSize: pageSize, existingFile: file)
    } catch { throw StoreError(error, at: folder.path) }
  }

  /// Makes everything durable and says that the guest is here. When this returns, it is, whatever
  /// happens next.
  ///
  /// - Parameters:
  ///   - state: `held`, or `standby` for a guest of which checkpoints will come.
  ///   - durable: whether it must survive the machine, not only this process.
  public func hold(
    _ manifest: Manifest, as state: Manifest.State = .held, blocks: [RAMBlock], earlyState: Data,
    deviceState: Data, vmDescription: Data, durable: Bool = true
  ) throws(StoreError) {
    for block in blocks where durable {
      // Pages written through the mapping are the file's pages: fsync writes them too.
      guard fsync(block.descriptor) == 0 else {
        throw StoreError(SystemError("fsync"), at: "\(path)/ram/\(block.name)")
      }
    }
    // The files' names, too: a RAM file that no folder names is lost with the machine.
    if durable, !blocks.isEmpty { try folder.syncFolder("ram") }
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
    try folder.replace("manifest.json", with: data)
  }

  /// The source of a guest that was held as `unsettled` has been told so: from here on it is `held`.
  public func settle() throws(StoreError) {
    guard var manifest = try folder.manifest() else {
      throw StoreError(.empty, "\(path) is no store: there is no manifest.json")
    }
    manifest.state = .held
    try write(manifest)
  }

  /// Whether there is a guest here that must not be swept away; so there is if the manifest cannot be read.
  public var holdsGuest: Bool {
    do {
      guard let manifest = try folder.manifest() else { return false }
      return manifest.state != .receiving
    } catch { return true }
  }

  /// Replaces the manifest, also where there is no room any more: see ``withReserve(_:)``.
  public func write(_ manifest: Manifest) throws(StoreError) {
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

  /// The sections that came before the RAM's pages.
  public func earlyState(_ manifest: Manifest) throws(StoreError) -> [UInt8] {
    try folder.read("early-state", size: manifest.earlyStateSize)
  }

  /// The devices' sections with the closing EOF byte.
  public func deviceState(_ manifest: Manifest) throws(StoreError) -> [UInt8] {
    try folder.read("device-state", size: manifest.deviceStateSize)
  }

  /// The VM description element; empty if there was none.
  public func vmDescription(_ manifest: Manifest) throws(StoreError) -> [UInt8] {
    try folder.read("vm-description", size: manifest.vmDescriptionSize)
  }

  /// Removes what a migration that failed has written, so that its memory is free at once. Never call
  /// it on a store that holds a guest.
  public func sweep() {
    // First what would make a guest of the rest.
    folder.remove("manifest.json")
    for name in Self.fileNames.subtracting(["ram", "cache"]) { folder.remove(name) }
    folder.removeFolder("ram")
    folder.removeFolder("cache")
  }
}
