import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// What does not fit is no checkpoint, and what was one before still is.
@Suite(
  "The file system under a standby's store is full", .enabled(if: SmallFileSystem.isAvailable),
  .serialized, .beside)
struct FullStandbyTests {
  @Test("The pages of a checkpoint do not fit", arguments: SyntheticGuest.Style.all)
  func pages(style: SyntheticGuest.Style) throws {
    let script = SyntheticGuest.script(
      style, seed: 50, checkpoints: 3, pages: [1500], counts: [20, 20, .max])
    // Six megabytes of guest, and as much again would have to be kept.
    try expectRefused(script, size: "10m", fits: 2)
  }

  @Test("The device state of a checkpoint does not fit", arguments: Manifest.Cache.allCases)
  func deviceState(cache: Manifest.Cache) throws {
    let script = SyntheticGuest.script(
      seed: 51, checkpoints: 3, pages: [100], blobSizes: [5000, 5000, 5000, 6 << 20], counts: [20])
    try expectRefused(script, cache, size: "6m", fits: 2)
  }

  @Test("The guest itself does not fit: nothing is acknowledged that could not be continued")
  func guest() throws {
    // Three quarters of the guest have never been written, and then all of it is.
    let script = SyntheticGuest.script(
      seed: 52, checkpoints: 1, pages: [1500], counts: [.max], blank: true)
    try expectRefused(script, size: "10m", fits: 0)
  }

  private func expectRefused(
    _ script: PrimaryScript, _ cache: Manifest.Cache = .sparse, size: String, fits: Int
  ) throws {
    let files = try SmallFileSystem("size=\(size)")
    let standby = try LocalStandby(store: files.path + "/store", cache: cache)
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: fits)
    #expect(throws: Primary.Ended.standbyGone) { try primary.checkpoint(fits + 1) }
    #expect(primary.acknowledged == fits)
    primary.close()
    let outcome = try standby.outcome()
    #expect(outcome.cause.kind == .failed && !outcome.cause.peerIsGone, "\(outcome.cause)")
    #expect("\(outcome.cause)".contains("No space left"), "\(outcome.cause)")
    #expect(outcome.report.checkpoint == fits)
    try StoreCheck.expect(standby.store, holds: fits, script)
  }
}
