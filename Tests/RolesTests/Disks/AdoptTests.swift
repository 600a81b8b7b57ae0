import Foundation
import Glibc
import Roles
import SessionReplay
import TestSupport
import Testing

/// A primary whose standby has died goes on, and its mirrors remember what they could not write:
/// the next standby has to have the rest.
@Suite("The disks of a standby that died", .serialized, .beside)
struct AdoptTests {
  /// What a standby says of its disks before anything comes.
  private func disks(_ standby: StandbyProcess) throws -> [JSON] {
    let control = try ControlClient(standby.uri)
    defer { control.close() }
    return try control.wait { _ in true }["status"]["disks"].elements
  }

  @Test("The first copy goes on where it was, with all that was answered")
  func copying() throws {
    let place = try DiskPlace()
    let standby = try StandbyProcess(store: place("store"), place.arguments())
    for disk in place.disks {
      try disk.connect()
      try disk.copy(0..<0.5)
      for start in [0, 4096, 70_000] {
        try disk.write(disk.randomBytes(5000), at: start..<start + 5000, as: .write)
      }
      try disk.write(nil, at: 512..<1024, as: .trim)
      // Half of one that is never answered.
      try disk.expectClient().send(
        NBDClient.request(1, at: 8192, count: 4096) + [UInt8](repeating: 1, count: 2000))
    }
    let worker = try #require(standby.multifd.process.worker)
    kill(worker, SIGKILL)
    #expect(try standby.multifd.wait().code == 70)
    let next = try StandbyProcess(store: standby.store, place.arguments(adopts: true))
    for (disk, report) in zip(place.disks, try disks(next)) {
      let half = disk.size / 2
      #expect(report["state"].string == "syncing" && report["covered"].int == half, "\(report)")
      let zeroes = [UInt8](repeating: 0, count: half)
      let difference = disk.difference(Array(disk.contents.prefix(half)) + zeroes)
      #expect(difference == nil)
    }
    // The rest, and it is good for a protection.
    for disk in place.disks {
      try disk.connect()
      try disk.copy(0.5..<1)
    }
    let session = try DiskSession(place, to: next.uri)
    defer { session.die() }
    try session.protect()
    try session.play(upTo: 2)
    session.die()
    #expect(try next.multifd.wait().code == 3)
    try session.expect(next.store, holds: 2)
  }

  @Test("What was written after the last checkpoint stays as well, where the primary has gone on")
  func protected() throws {
    let place = try DiskPlace()
    let standby = try StandbyProcess(store: place("store"), place.arguments())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    try session.ask()
    standby.multifd.process.kill()
    session.die()
    _ = try standby.multifd.wait()
    // Whoever forgets what has happened takes nothing away: neither there nor anywhere else.
    for store in [standby.store, place("other")] {
      let refused = try MultiFDProcess.run(
        ["receive", "--colo", "--store", store, "--listen", "unix:" + place("socket")]
          + place.arguments())
      #expect(refused.code == 1, "\(refused)")
      let why = store == standby.store ? "holds a guest already" : "can still be continued"
      #expect(refused.errorLine?.contains(why) == true, "\(refused)")
      #expect(refused.errors.contains("--adopt"), "\(refused)")
    }
    // Nor does a failover whose fence says that the primary lives.
    let fenced = try MultiFDProcess.run(
      ["failover", "--store", standby.store, "--fence", "exit 1", "--", "/bin/false"])
    #expect(fenced.errorLine?.hasPrefix("multifd: error: fence:") == true, "\(fenced)")
    #expect(try StoreCheck.status(standby.store).json["checkpoint"].int == 2)

    let next = try StandbyProcess(store: standby.store, place.arguments(adopts: true))
    #expect(try StoreCheck.status(standby.store).json["guest"].string == "none")
    for (disk, report) in zip(place.disks, try disks(next)) {
      #expect(report["state"].string == "synced", "\(report)")
      // Newer than checkpoint 2: all that has been answered.
      let difference = disk.difference(disk.contents, besides: disk.unanswered)
      #expect(difference == nil)
      #expect(disk.difference(disk.snapshots[2]) != nil)
      try disk.connect()
      try disk.write(4)
    }
    let second = try DiskSession(place, to: next.uri)
    defer { second.die() }
    try second.protect()
    try second.play(upTo: 3)
    second.die()
    #expect(try next.multifd.wait().code == 3)
    try second.expect(next.store, holds: 3)
  }

  @Test(
    "A store and logs that were named from where the standby was started are found from anywhere")
  func relative() throws {
    let place = try DiskPlace(1)
    let disk = place.disks[0]
    let here = ["/usr/bin/env", "-C", place(".")]
    let standby = try MultiFDProcess(
      [
        "receive", "--colo", "--store", "store", "--listen", "unix:" + place("socket"), "--disks",
        place.uri, "--disk", "disk0=disk0.raw,log=logs",
      ], wrapper: here)
    let session = try DiskSession(place, to: try standby.waitListening())
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    try disk.write(3)
    session.die()
    #expect(try standby.wait().code == 3)
    let refused = try MultiFDProcess.run(
      [
        "receive", "--colo", "--store", place("other"), "--listen", "unix:" + place("socket"),
        "--disks", place.uri, "--disk", "disk0=\(disk.image),log=" + place("logs"),
      ])
    #expect(refused.errorLine?.contains("can still be continued") == true, "\(refused)")
    try session.expect(place("store"), holds: 2)
  }

  /// Why nothing of an image counts.
  enum Obstacle: String, CaseIterable {
    case otherBoot, continued, nothing
  }

  @Test(
    "Nothing is adopted that may be torn, or that a guest has gone on with",
    arguments: Obstacle.allCases)
  func nothing(obstacle: Obstacle) throws {
    let place = try DiskPlace(1)
    let disk = place.disks[0]
    if obstacle != .nothing {
      let standby = try StandbyProcess(place.arguments())
      let session = try DiskSession(place, to: standby.uri)
      defer { session.die() }
      try session.begin()
      try session.play(upTo: 1)
      session.die()
      _ = try standby.multifd.wait()
      if obstacle == .continued { try session.expect(standby.store, holds: 1) }
    }
    if obstacle == .otherBoot {
      let path = place.logs(of: disk) + "/state"
      guard case .object(var state) = try JSON(parsing: Data(contentsOf: URL(filePath: path)))
      else {
        throw LabError("no state")
      }
      state["boot"] = "11111111-2222-3333-4444-555555555555"
      try JSON.object(state).text.write(toFile: path, atomically: false, encoding: .utf8)
    }
    let next = try StandbyProcess(place.arguments(adopts: true))
    let report = try #require(try disks(next).first)
    #expect(report["state"].string == "syncing" && report["covered"].int == 0, "\(report)")
    #expect(next.multifd.process.errors.text.contains("nothing to adopt"))
    // All of it comes anew.
    try disk.connect()
    try disk.copy()
    let session = try DiskSession(place, to: next.uri)
    defer { session.die() }
    try session.protect()
    try session.play(upTo: 1)
    session.die()
    #expect(try next.multifd.wait().code == 3)
    try session.expect(next.store, holds: 1)
  }
}
