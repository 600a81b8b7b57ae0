import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

/// Guests in a format whose backend has several packets in flight: the example of that, at every
/// place that a backend can have.
@Suite("Guests travel with packets in flight", .beside)
struct InFlightRelayTests {
  private let plugins: ExamplePlugins
  private let loader: PluginLoader

  init() throws {
    plugins = try ExamplePlugins(["pool"])
    if let reason = plugins.missing["pool"] { try Test.cancel("SKIPPED: \(reason)") }
    loader = TestBackends.loader(with: plugins.folder)
  }

  static let ways: [[String?]] = [
    ["pool"], ["pool,threads=1", "zlib"], ["lz4", "pool"], ["auto=pool,lz4"],
  ]

  @Test("Through relays", arguments: ["bios-100-none-2ch", "bios-111-zstd-2ch"], ways)
  func relays(name: String, way: [String?]) throws {
    let session = try Tampered(name)
    let passed = try RelayedReception(session.lines, way, loader: loader)
    let summary = try passed.reception.get()
    try Reception.expectHeld(passed.store, session.script)
    for relay in passed.relays {
      let said = try #require(relay).get()
      #expect(said.result == "migrated")
      #expect(said.channels.map(\.normal) == summary.channels.map(\.normal))
      #expect(said.channels.allSatisfy { $0.syncs == UInt64(session.script.markers) })
    }
    #expect(passed.heard[0].messages.last == .shut(0))
  }

  @Test("From a store into another", arguments: [1, 3])
  func stores(channels: Int) throws {
    let guest = try VersionedGuest(otherBlocks: true)
    let move = try LinkMove(
      guest.new, to: guest.folder("b"), channels: channels, loader: loader
    ) { $0.compression = (try? FormatWish(parsing: "pool")) ?? .asTheyCome }
    let (sent, received) = (try move.sent.get(), try move.received.get())
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    #expect(sent.compression.contains("pool") && received.ram.normal == sent.normal)
  }
}
