// Store: a held guest on disk or tmpfs: manifest, RAM blocks, device state.

import Foundation
import Synchronization

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
/// migration whose guest still runs at its source, and the next `receive` may sweep it away. What
/// the manifest says is written by nothing but
/// ``hold(_:as:blocks:earlyState:deviceState:vmDescription:durable:)``, ``settle()`` and
/// ``HandOver``.
public final class Store: Sendable {
  private let lock: StoreLock
  var folder: StoreFolder { lock.folder }
  /// What the guest's manifest said when it was opened; nil for a guest to come.
  let opened: Manifest?
  /// It was opened also if its guest may run elsewhere.
  let isForced: Bool
  /// What the manifest says now: the lock keeps everybody else from it.
  let says: Mutex<Says>

  private init(_ lock: StoreLock, opened: Manifest? = nil, isForced: Bool = false) {
    self.lock = lock
    self.opened = opened
    self.isForced = isForced
    says = Mutex(Says(state: opened?.state ?? .receiving))
  }

  /// The folder.
  public var path: String { folder.path }

  /// Every name that a store may have in its folder, beside `lock`: what ``sweep()`` removes, and
  /// all that it removes.
  static let fileNames: Set<String> = {
    let files = [
      "manifest.json", "early-state", "device-state", "vm-description", "reserve", "device-state-a",
      "device-state-b", "checkpoint", "redone", "state", "spare", "rehearsal", "disks", "qemu.log",
    ]
    return Set(files + files.map { $0 + ".new" } + ["ram", "cache"])
  }()

  /// The control socket of the process that serves the store, or of one that was ended. No part of a
  /// guest: another process than the one that has the lock puts it there, and takes it away.
  static let control = "control"

  /// Opens a folder for a guest to come; makes it if it is not there, sweeps what an interrupted
  /// migration left. If nothing comes of it, the folder is as it was, or gone, when the store is
  /// let go.
  ///
  /// - Parameter connections: how many the guest will come over, as far as that is known.
  /// - Throws: `.foreign` if something is in the folder that is no store's; `.untrusted` if others
  ///   can write to it; `.occupied` if a guest is held here, or was: its files are the last trace
  ///   of it, and removing them is for the operator to say.
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

  /// Removes what a process that was ended has left of a guest that is not to be held: of a
  /// migration, or of a standby that was never ready.
  public static func sweepAbandoned(_ path: String) throws(StoreError) {
    let store = Store(try StoreLock.take(path, for: .reception))
    let state = try store.folder.manifest()?.state
    guard [nil, .receiving, .standby].contains(state) else { return }
    store.sweep()
  }

  /// Gives up the guest of a standby whose primary has gone on without it. Nothing where there is no
  /// store; a guest in another state stays.
  public static func abandon(_ path: String) throws(StoreError) {
    do { try sweepAbandoned(path) } catch {
      guard error.kind == .empty else { throw error }
    }
  }

  /// Opens a folder that holds a guest.
  ///
  /// - Parameter handedOver: also a guest that a destination has taken already (not one that a
  ///   failover has), that has ended at its primary, or that may be torn.
  public static func open(
    _ path: String, handedOver: Bool = false
  ) throws(StoreError) -> (store: Store, manifest: Manifest) {
    try Descriptors.expectRoom()
    let lock = try StoreLock.take(path, for: .guest)
    let manifest = try expectGuest(lock.folder, handedOver: handedOver)
    return (Store(lock, opened: manifest, isForced: handedOver), manifest)
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
    case .standby where manifest.ended != nil && manifest.goesOn == true && !handedOver:
      throw StoreError(
        .ended,
        "the guest of \(path) goes on alone at its primary (\(manifest.ended ?? "")): what is here is from before",
        hint:
          "look there; if it runs no more, --force continues it all the same, as of its last checkpoint"
      )
    case .standby where manifest.ended != nil && !handedOver:
      throw StoreError(
        .ended,
        "the guest of \(path) has ended at its primary (\(manifest.ended ?? "")): what is here is from before"
      )
    case .unsettled where !handedOver:
      throw StoreError(
        .handedOver, "the source of the guest of \(path) could not be told: it may run there")
    case .held, .standby, .unsettled, .handedOver, .handingOver: return manifest
    }
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

  /// Removes what a migration that failed has written, so that its memory is free at once. Never
  /// call it on a store that holds a guest.
  public func sweep() {
    // First what would make a guest of the rest.
    folder.remove("manifest.json")
    for name in Self.fileNames.subtracting(["ram", "cache"]) { folder.remove(name) }
    folder.remove(Self.control)
    folder.removeFolder("ram")
    folder.removeFolder("cache")
    says.withLock { $0 = Says(state: .receiving) }
  }
}
