import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// What was acknowledged can be continued, whatever has become of the room since.
@Suite(
  "A standby was killed, and then its file system has become full",
  .enabled(if: SmallFileSystem.isAvailable && KillSwitch.isAvailable), .serialized, .beside)
struct FullRepairTests {
  @Test(
    "The copy of the last checkpoint needs no room", arguments: Manifest.Cache.allCases,
    [true, false])
  func repair(cache: Manifest.Cache, blank: Bool) throws {
    // Few pages all over a large guest that has hardly anything: those that are zero lie where
    // nothing ever was.
    let script = SyntheticGuest.script(
      .plain, seed: 70, checkpoints: 4, pages: [blank ? 40_000 : 6000, 37],
      counts: [blank ? 12 : 400], blank: blank)
    let files = try SmallFileSystem("size=128m")
    let store = files.path + "/store"
    // Directly after the commit: nothing has been copied.
    let standby = try StandbyProcess(
      cache: cache, store: store, channels: 0,
      environment: KillSwitch.environment(.checkpoint(4), at: 1))
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    #expect(throws: Primary.Ended.standbyGone) { try primary.play(upTo: 4) }
    primary.close()
    let killed = try standby.multifd.wait().code
    #expect(KilledStandbyTests.Round.killed.contains(killed))
    #expect(try Store.status(of: store).checkpoint?.number == 4)
    try files.fill()
    // In a process of its own: what would be missing room shows as SIGBUS. Nobody listens there.
    let result = try MultiFDProcess.run(
      ["send", "--store", store, "--to", "unix:" + standby.beside("nobody"), "--channels", "0"])
    #expect(result.code == 3, "\(result)")
    try StoreCheck.expect(store, holds: 4, script)
  }
}
