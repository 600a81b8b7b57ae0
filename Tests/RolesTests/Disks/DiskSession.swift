import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing

/// A synthetic guest with disks that is being protected: its primary, and its disks' mirrors, in
/// the order in which QEMU does things.
final class DiskSession {
  let script: PrimaryScript
  let place: DiskPlace
  /// The primary; there from ``begin()`` on.
  private(set) var primary: Primary
  private let writes: Int

  /// A session of a small guest.
  static func script(_ seed: UInt64 = 9, checkpoints: Int = 4) -> PrimaryScript {
    SyntheticGuest.script(.plain, seed: seed, checkpoints: checkpoints, pages: [60, 5])
  }

  /// Connects the primary.
  ///
  /// - Parameter writes: to each disk, before and after a checkpoint is asked for.
  init(
    _ place: DiskPlace, to uri: String, _ script: PrimaryScript = DiskSession.script(),
    writes: Int = 5
  ) throws {
    (self.place, self.script, self.writes) = (place, script, writes)
    primary = try Primary(script, to: uri, seed: 3)
  }

  /// Mirrors connect and copy, and the guest is migrated: READY has come.
  ///
  /// - Parameter amongOthers: others ask for the disks, too.
  func begin(amongOthers: Bool = false) throws {
    for disk in place.disks {
      try amongOthers ? disk.connectAmongOthers() : disk.connect()
      try disk.copy()
      try disk.write(writes)
    }
    try protect()
  }

  /// Only the last of that.
  func protect() throws {
    for disk in place.disks { disk.mark(isFirst: true) }
    try primary.precopy()
  }

  /// Checkpoints up to one.
  func play(upTo last: Int) throws {
    for number in (primary.acknowledged ?? 0) + 1...last { try checkpoint(number) }
  }

  /// A whole checkpoint.
  func checkpoint(_ number: Int) throws {
    try ask()
    try finish(number)
  }

  /// The guest writes, REQUEST and REPLY come, and it goes on writing until it is stopped; then all
  /// is answered, and flushed.
  ///
  /// - Parameter flush: whether QEMU says so.
  func ask(flush: Bool = true) throws {
    for disk in place.disks { try disk.write(writes) }
    try primary.request()
    for disk in place.disks {
      try disk.write(writes)
      if flush { try disk.flush() }
    }
  }

  /// The rest of it, with the guest standing still.
  func finish(_ number: Int) throws {
    for disk in place.disks { disk.mark() }
    try primary.send(script.checkpoints[number - 1])
    try primary.expectAcknowledgement(number)
  }

  /// The primary dies, and its mirrors with it.
  func die() {
    primary.close()
    for disk in place.disks { disk.cut() }
  }

  /// Opens the store as whoever continues the guest does, and compares memory, devices and disks
  /// with a checkpoint.
  func expect(
    _ store: String, holds number: Int, _ what: Comment? = nil,
    location: SourceLocation = #_sourceLocation
  ) throws {
    // Twice: what the first has redone stays so.
    for _ in 0..<2 {
      try StoreCheck.expect(store, holds: number, script, what, location: location)
      for disk in place.disks {
        let difference = disk.difference(disk.snapshots[number])
        #expect(difference == nil, "checkpoint \(number), \(what ?? "")", sourceLocation: location)
      }
    }
  }
}
