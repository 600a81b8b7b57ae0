import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// Which checkpoints count, and which do not: QEMU takes them also when a disk's mirror is dead.
@Suite("The rule of a checkpoint with disks", .beside)
struct DiskRuleTests {
  /// What goes wrong in a checkpoint, and what is said of it.
  enum Fault: String, CaseIterable {
    case noFlush = "no FLUSH has come"
    case flushTooEarly = "before the checkpoint"
    case cut = "its connection has ended"
    case cutBetween = "its connection"
    case cameAgain = "connection has"
    case writeWhileStanding = "a write has come while the guest stood still"
  }

  @Test(
    "Writes up to the guest's stop belong to it, and everything is the last one's", arguments: 1...3
  )
  func committed(count: Int) throws {
    let place = try DiskPlace(count, seed: UInt64(count))
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(
      place, to: standby.uri, DiskSession.script(checkpoints: 12), writes: 12)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 12)
    // Those are nobody's.
    for disk in place.disks { try disk.write(10) }
    session.die()
    let outcome = try standby.outcome()
    #expect(outcome.cause.peerIsGone, "\(outcome.cause)")
    try session.expect(standby.store, holds: 12)
    for disk in place.disks {
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: place.logs(of: disk)).sorted()
          == ["state"])
    }
  }

  @Test("Before the first checkpoint they are the end of precopy's")
  func precopy() throws {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options(trusted: false))
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    for disk in place.disks { try disk.write(10) }
    session.die()
    _ = try standby.outcome()
    try session.expect(standby.store, holds: 0)
  }

  /// A guest with two disks, after its second checkpoint.
  private static func protected() throws -> (
    DiskPlace, LocalStandby, ControlClient, DiskSession
  ) {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options())
    let control = try ControlClient(standby.uri)
    let session = try DiskSession(place, to: standby.uri)
    try session.begin()
    try session.play(upTo: 2)
    return (place, standby, control, session)
  }

  @Test(
    "One that breaks the rule does not count, and the one before it is whole",
    arguments: Fault.allCases)
  func broken(fault: Fault) throws {
    let (place, standby, control, session) = try Self.protected()
    defer { control.close() }
    defer { session.die() }
    let disk = place.disks[1]
    switch fault {
    case .noFlush:
      try session.ask(flush: false)
      try place.disks[0].flush()
    case .flushTooEarly:
      for _ in 0..<3 { try disk.flush() }
      try session.ask(flush: false)
      try place.disks[0].flush()
    case .cut:
      try session.ask()
      disk.cut()
      try control.wait { $0["status"]["disks"][1]["state"].string == "lost" }
    case .cutBetween:
      disk.cut()
      try session.primary.request()
      try place.disks[0].flush()
    case .cameAgain:
      disk.cut()
      // QEMU's client connects again by itself. Nobody lets it in.
      let deadline = ContinuousClock.now + .seconds(10)
      while case .some(NBDClient.Ended.refused(NBDClient.Code.policy)) = Self.error({
        try disk.connect()
      }),
        ContinuousClock.now < deadline
      {}
      #expect(throws: NBDClient.Ended.refused(NBDClient.Code.shutdown)) { try disk.connect() }
      try session.primary.request()
      try place.disks[0].flush()
    case .writeWhileStanding:
      try session.ask()
      var burst = session.script.checkpoints[2]
      let rest = Array(burst.main.dropFirst(4))
      burst.main = Array(burst.main.prefix(4))
      try session.primary.send(burst)
      try control.wait { $0["mark"].int == 3 }
      // It is marked a moment before it is sealed.
      for _ in 0..<3 {
        Thread.sleep(forTimeInterval: 0.005)
        _ = try disk.expectClient().perform(.write, at: 0, count: 3, [7, 7, 7])
      }
      #expect(throws: Primary.Ended.standbyGone) {
        try session.primary.send(main: rest)
        try session.primary.expectAcknowledgement(3)
      }
    }
    if fault != .writeWhileStanding {
      #expect(throws: Primary.Ended.standbyGone) { try session.finish(3) }
    }
    let outcome = try standby.outcome()
    // It has just said that its guest stands still: it lives, and goes on alone.
    #expect(outcome.cause.cause == .peerLives, "\(outcome.cause)")
    #expect("\(outcome.cause)".contains("disk 'disk1': "), "\(outcome.cause)")
    #expect("\(outcome.cause)".contains(fault.rawValue), "\(outcome.cause)")
    #expect(outcome.report.checkpoint == 2)
    try session.expect(standby.store, holds: 2, "\(fault)")
  }

  @Test(
    "A disk's connection ends a moment before the others: its primary is gone",
    arguments: [4, 200, nil], [false, true])
  func diskFirst(bytes: Int?, before: Bool) throws {
    let (place, standby, control, session) = try Self.protected()
    defer { control.close() }
    defer { session.die() }
    try session.ask()
    let cut = {
      place.disks[1].cut()
      // Until it is noticed, and well before it is held against a primary that others still have.
      Thread.sleep(forTimeInterval: 0.05)
    }
    if before { cut() }
    // As far as VMSTATE_SEND, or into what follows, or all of it.
    var burst = session.script.checkpoints[2]
    burst.main = Array(burst.main.prefix(bytes ?? burst.main.count))
    // What ends a checkpoint waits until the disk is gone.
    let last = bytes == nil ? burst.main.popLast() : nil
    try session.primary.send(burst)
    if !before {
      try control.wait { $0["mark"].int == 3 }
      cut()
    }
    if let last { try session.primary.send(main: [last]) }
    session.primary.close()
    let outcome = try standby.outcome()
    #expect(outcome.cause.peerIsGone && outcome.cause.kind == .unreachable, "\(outcome.cause)")
    #expect(outcome.report.checkpoint == 2)
    try session.expect(standby.store, holds: 2)
  }

  @Test(
    "A log's file system is full: the primary is told, and the checkpoint before stays",
    .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"))
  func full() throws {
    let files = try SmallFileSystem("size=1m")
    let place = try DiskPlace(logs: files.path + "/logs")
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    try session.ask()
    let disk = place.disks[1]
    var errors: [UInt32] = []
    for _ in 0..<20 {
      let data = disk.randomBytes(1 << 16)
      errors.append(try disk.expectClient().perform(.write, at: 0, count: data.count, data).error)
    }
    // What fits is taken, the first that does not is ENOSPC, and then nothing any more.
    #expect(errors.drop { $0 == 0 }.first == 28, "\(errors)")
    #expect(errors.last == 108, "\(errors)")
    try disk.flush()
    #expect(throws: Primary.Ended.standbyGone) { try session.finish(3) }
    let outcome = try standby.outcome()
    #expect("\(outcome.cause)".contains("a write has failed"), "\(outcome.cause)")
    try session.expect(standby.store, holds: 2)
  }

  /// What is not ready when a primary migrates.
  enum Gap: String, CaseIterable {
    case notCopied = "0 % copied"
    case oneBlockShort = "99 % copied"
    case halfABlock = "% copied"
    case noMirror = "no mirror is connected"
  }

  @Test(
    "A disk that is not in step: refused before the guest stands still", arguments: Gap.allCases)
  func early(gap: Gap) throws {
    let place = try DiskPlace(2, size: 128 << 14)
    let standby = try LocalStandby(disks: place.options())
    let (good, bad) = (place.disks[0], place.disks[1])
    try good.connect()
    try good.copy()
    try bad.connect()
    switch gap {
    case .notCopied: break
    case .oneBlockShort: try bad.copy(0..<127.0 / 128)
    case .halfABlock:
      // All but half of a 4 KiB block.
      let half = 2048
      try bad.write(bad.randomBytes(bad.size - half), at: half..<bad.size, as: .write)
    case .noMirror:
      try bad.copy()
      bad.cut()
      // Until the server has noticed.
      Thread.sleep(forTimeInterval: 0.1)
    }
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    // Half of precopy, or less, if it is refused meanwhile: its guest runs.
    let main = session.script.precopy.main
    try? session.primary.send(main: Array(main.prefix(main.count / 2)))
    let said = session.primary.readToEnd()
    // SHUT 1, and nothing of READY.
    #expect(said.suffix(8) == [0, 1, 0, 4, 0, 0, 0, 1], "\(said)")
    let failure = try standby.refusal()
    #expect(failure.kind == .refused)
    #expect("\(failure)".contains("disk 'disk1': "), "\(failure)")
    #expect("\(failure)".contains(gap.rawValue), "\(failure)")
    #expect(failure.hint?.contains("actively-synced") == true)
    #expect((try? Store.status(of: standby.store))?.manifest == nil)
  }

  @Test("An image that is trusted needs no copy")
  func trusted() throws {
    let place = try DiskPlace()
    for disk in place.disks {
      try Data(disk.contents).write(to: URL(filePath: disk.image))
    }
    let standby = try LocalStandby(disks: place.options(trusted: true))
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    for disk in place.disks {
      try disk.connect()
      try disk.write(3)
    }
    try session.protect()
    try session.play(upTo: 3)
    session.die()
    _ = try standby.outcome()
    try session.expect(standby.store, holds: 3)
  }

  @Test("Another protection gets an image when the guest of the first cannot be continued any more")
  func reused() throws {
    let place = try DiskPlace(1)
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    session.die()
    _ = try standby.outcome()
    // Its guest could be continued: nobody takes the image away from it, whether or not somebody
    // has opened the store to do so and has failed.
    for _ in 0..<2 {
      let second = try LocalStandby(disks: place.options())
      let refusal = try second.refusal()
      #expect("\(refusal)".contains("can still be continued"), "\(refusal)")
      // Nor does one that would use the same store, which it looks at first.
      let again = try LocalStandby(store: standby.store, disks: place.options()).refusal()
      #expect("\(again)".contains("holds a guest already"), "\(again)")
      #expect(again.hint?.contains("--adopt") == true, "\(again)")
      try session.expect(standby.store, holds: 2)
    }
    // It has gone on, and its QEMU has ended.
    try StoreCheck.set(.handedOver, in: standby.store)
    let third = try LocalStandby(disks: place.options())
    third.receiver.cancel(.failed, "the test is over")
    _ = try third.refusal()
    try StoreCheck.set(.standby, in: standby.store)
    let error = Self.error { try StoreCheck.expectWhole(standby.store, session.script) }
    #expect(
      "\(String(describing: error))".contains("another protection"), "\(String(describing: error))")
  }

  @Test("A guest that version 0.1 has left, without disks, still opens")
  func oldRecord() throws {
    let script = DiskSession.script()
    let standby = try LocalStandby()
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    primary.close()
    _ = try standby.outcome()
    let record = try #require(try Store.status(of: standby.store).checkpoint)
    let manifest = try JSON(
      parsing: Data(contentsOf: URL(filePath: standby.store + "/manifest.json")))
    #expect(manifest["disks"] == .null)
    let flat: JSON = [
      "number": 3, "side": .integer(Int64(record.side)), "entries": .integer(Int64(record.entries)),
      "deviceStateSize": .integer(Int64(record.deviceStateSize)), "committedAt": 1.5e9,
    ]
    try flat.text.write(
      toFile: standby.store + "/checkpoint", atomically: false, encoding: .utf8)
    try? FileManager.default.removeItem(atPath: standby.store + "/redone")
    #expect(try Store.status(of: standby.store).checkpoint?.number == 3)
    try StoreCheck.expect(standby.store, holds: 3, script)
  }

  private static func error(_ body: () throws -> Void) -> (any Error)? {
    do {
      try body()
      return nil
    } catch { return error }
  }
}
