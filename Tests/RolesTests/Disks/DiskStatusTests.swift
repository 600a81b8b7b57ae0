import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing

@Suite("multifd status of a guest with disks", .beside)
struct DiskStatusTests {
  /// Asks until it says so.
  private func wait(_ store: String, for match: ([JSON]) -> Bool) throws -> [JSON] {
    let deadline = ContinuousClock.now + .seconds(20)
    while true {
      let disks = try StoreCheck.status(store).json["disks"].elements
      if match(disks) { return disks }
      guard ContinuousClock.now < deadline else { throw LabError("status: \(disks.map(\.text))") }
      Thread.sleep(forTimeInterval: 0.1)
    }
  }

  @Test("It shows how far each is, from the copy to the loss")
  func phases() throws {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try place.disks[1].connect()
    try place.disks[1].copy(0..<0.25)
    let disks = try wait(standby.store) { $0.count == 2 && $0[1]["covered"].int == 64 << 10 }
    #expect(disks.map { $0["name"].string } == ["disk0", "disk1"])
    #expect(disks.map { $0["state"].string } == ["syncing", "syncing"])
    #expect(disks.map { $0["connected"].bool } == [false, true])
    #expect(disks.allSatisfy { $0["size"].int == 256 << 10 && $0["epoch"].int == 0 })
    #expect(disks[0]["covered"].int == 0)
    try place.disks[1].copy(0.25..<1)
    try place.disks[0].connect()
    try place.disks[0].copy()
    _ = try wait(standby.store) { $0.allSatisfy { $0["state"].string == "synced" } }
    try session.protect()
    try session.play(upTo: 2)
    try place.disks[0].write(
      place.disks[0].randomBytes(8192), at: 0..<8192, as: .write)
    let protected = try wait(standby.store) { $0[0]["epoch-bytes"].int == 8192 + 32 }
    #expect(protected.allSatisfy { $0["state"].string == "protected" && $0["epoch"].int == 3 })
    #expect(protected.allSatisfy { $0["backlog"].int == 0 && $0["requests"].int ?? 0 > 0 })
    #expect(protected[1]["epoch-bytes"].int == 0)
    // For people.
    let text = try MultiFDProcess.run(["status", "--store", standby.store])
    #expect(text.code == 0)
    #expect(text.output.contains("disk        disk0 protected, epoch 3, "), "\(text)")
    place.disks[1].cut()
    let lost = try wait(standby.store) { $0[1]["state"].string == "lost" }
    #expect(lost[1]["reason"].string == "its connection has ended")
    #expect(lost[0]["state"].string == "protected")
    session.die()
    _ = try standby.outcome()
    // Nobody has them now.
    let after = try StoreCheck.status(standby.store)
    #expect(after.code == 0 && after.json["checkpoint"].int == 2)
    try session.expect(standby.store, holds: 2)
  }
}
