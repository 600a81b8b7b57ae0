import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

@Suite("Synthetic primaries and the real standby", .beside)
struct SyntheticSessionTests {
  @Test(
    "Hundreds of checkpoints: the guest's files are each of them in turn",
    arguments: Manifest.Cache.allCases, SyntheticGuest.Style.all)
  func long(cache: Manifest.Cache, style: SyntheticGuest.Style) throws {
    let checkpoints = Soak.rounds(60)
    let script = SyntheticGuest.script(
      style, seed: 7, checkpoints: checkpoints, pages: [900, 37, 1])
    let standby = try LocalStandby(cache: cache)
    let primary = try Primary(script, to: standby.uri, seed: 7)
    defer { primary.close() }
    try primary.precopy()
    for number in 1...checkpoints {
      try primary.checkpoint(number)
      guard number % 7 == 0 else { continue }
      try waitForCopy(number, standby.store)
      let difference = try Self.difference(standby.store, script.image(number))
      #expect(difference == nil, "checkpoint \(number)")
    }
    primary.close()
    let outcome = try standby.outcome()
    #expect(outcome.cause.kind == .unreachable, "\(outcome.cause)")
    #expect(outcome.report.checkpoint == checkpoints)
    #expect(outcome.report.pages > 0)
    try StoreCheck.expect(standby.store, holds: checkpoints, script)
  }

  @Test(
    "Every page of the guest, in both epochs of a checkpoint", arguments: Manifest.Cache.allCases)
  func twice(cache: Manifest.Cache) throws {
    let script = SyntheticGuest.script(seed: 3, checkpoints: 6, pages: [300], counts: [.max])
    let standby = try LocalStandby(cache: cache)
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 6)
    primary.close()
    #expect(try standby.outcome().report.checkpoint == 6)
    try StoreCheck.expect(standby.store, holds: 6, script)
  }

  @Test("The guest is not touched while a checkpoint comes in", arguments: Manifest.Cache.allCases)
  func untouched(cache: Manifest.Cache) throws {
    let script = SyntheticGuest.script(seed: 5, checkpoints: 4, pages: [400])
    let standby = try LocalStandby(cache: cache)
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    try waitForCopy(2, standby.store)
    try primary.request()
    var most = script.checkpoints[2]
    most.main.removeLast()
    try primary.send(most)
    // Everything but the last byte has been sent; some time for it to do harm.
    Thread.sleep(forTimeInterval: 0.05)
    let difference = try Self.difference(standby.store, script.image(2))
    #expect(difference == nil)
    let status = try Store.status(of: standby.store)
    #expect(status.checkpoint?.number == 2)
    #expect(status.state == "receiving 3")
    #expect(status.inUse)
    try primary.send(main: [0])
    try primary.expectAcknowledgement(3)
    primary.close()
    _ = try standby.outcome()
    try StoreCheck.expect(standby.store, holds: 3, script)
  }

  @Test("A signal ends it, and the store holds what was acknowledged")
  func signal() throws {
    let script = SyntheticGuest.script(seed: 6, checkpoints: 5)
    let standby = try StandbyProcess()
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 5)
    standby.multifd.process.kill(SIGTERM)
    #expect(try standby.multifd.wait().code == 128 + SIGTERM)
    try StoreCheck.expect(standby.store, holds: 5, script)
  }

  /// Waits until the store says that a checkpoint's pages are all in the guest's files.
  private func waitForCopy(_ number: Int, _ store: String) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while (try? String(contentsOfFile: store + "/redone", encoding: .utf8)) != "\(number)\n" {
      guard ContinuousClock.now < deadline else {
        throw LabError("checkpoint \(number) is not copied")
      }
      Thread.sleep(forTimeInterval: 0.001)
    }
  }

  /// Compares the files of a store in use: a sentence, or nil.
  static func difference(_ store: String, _ image: GuestImage) throws -> String? {
    let manifest = try #require(try Store.status(of: store).manifest)
    for (block, pages) in zip(manifest.blocks, image) {
      let file = try FileHandle(forReadingFrom: URL(filePath: store + "/" + block.file))
      defer { try? file.close() }
      let length = Int(try file.seekToEnd())
      let offset = PageModel.difference(
        file.fileDescriptor, length: length, pageSize: manifest.pageSize, pages)
      if let offset { return "\(block.name) at 0x\(String(offset, radix: 16))" }
    }
    return nil
  }
}
