import COLO
import Foundation
import Memory
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Transport
import Wire

@Suite("Sending held guests", .beside)
struct SendTests {
  /// How a guest is sent.
  struct Way: Sendable, CustomTestStringConvertible {
    var channels: Int
    var compression: String?
    var sync: SendOptions.Sync
    var testDescription: String { "\(channels) channels, \(compression ?? "plain"), \(sync)" }
  }

  static let ways: [Way] =
    [Way(channels: 0, compression: nil, sync: .auto)]
    + [1, 2, 16].flatMap { channels in
      ["nocomp", "zlib", "zstd"].map { compression in
        Way(channels: channels, compression: compression, sync: channels == 2 ? .section : .flush)
      }
    }
    + [Way(channels: 4, compression: "zlib,level=9", sync: .section)]

  /// Runs a sender until it has let go of its connections.
  static func send(
    _ held: HeldSession, to destination: FakeDestination,
    loader: PluginLoader = TestBackends.loader, configure: (inout SendOptions) -> Void = { _ in }
  ) -> Result<SendSummary, Failure> {
    var options = SendOptions(store: held.path, to: Destination(destination.endpoint))
    options.timeout = 10
    options.syncPatience = 0.05
    configure(&options)
    let sender = Sender(options, loader: loader)
    return Result { () throws(Failure) in try sender.run() }
  }

  @Test(
    "The stream brings the guest, whatever way it takes",
    arguments: ["bios-100-zlib-2ch", "bios-72-none-2ch", "bios-111-q35-72-zstd-2ch"], ways)
  func stream(name: String, way: Way) throws {
    let held = try HeldSession(name)
    let destination = try FakeDestination(
      channels: way.channels, over: way.channels == 1 ? .tcp : .unix)
    let result = Self.send(held, to: destination) {
      $0.channels = way.channels
      $0.compression = (try? FormatWish(parsing: way.compression)) ?? .asTheyCome
      $0.sync = way.sync
    }
    let heard = destination.end()
    let summary = try result.get()
    // QEMU 7.2 tells connections apart by their order alone.
    #expect(heard[0].starts(with: [0x51, 0x45, 0x56, 0x4d]))
    for id in 0..<way.channels {
      #expect(heard[id + 1].starts(with: [0x11, 0x22, 0x33, 0x44]) && heard[id + 1][24] == id)
    }
    let script = try StreamScript(main: heard[0], channels: Array(heard.dropFirst()))
    #expect(script.completion == .complete)
    try expectEqual(script, held)
    try expectOncePerPage(script)
    #expect(script.decoder.returnPathRequested && script.decoder.hasFooters == true)
    if way.channels > 0 {
      #expect(script.decoder.syncMode == (way.sync == .flush ? .flush : .perSection))
      let method =
        way.compression!.hasPrefix("nocomp") ? "none" : String(way.compression!.prefix(4))
      for packet in script.channels.flatMap(\.packets) where packet.header.pageCount > 0 {
        #expect(packet.header.flags.method.name == method)
        #expect(packet.payload.count <= 1 << 20)
      }
    }
    #expect(held.state == .handedOver)
    #expect(summary.result == "handed-over" && summary.channels == way.channels)
    #expect(summary.transferred == UInt64(heard.reduce(0) { $0 + $1.count }))
    #expect(summary.normal + summary.duplicate == summary.total / 4096)
  }

  /// RAM, devices and everything else are those of the held guest.
  private func expectEqual(_ script: StreamScript, _ held: HeldSession) throws {
    #expect(script.decoder.configuration == held.script.decoder.configuration)
    #expect(script.decoder.ramSectionID == held.script.decoder.ramSectionID)
    #expect(script.blocks == held.script.blocks)
    #expect(script.earlyState == held.script.earlyState)
    #expect(script.deviceState == held.script.deviceState)
    #expect(script.vmDescription == held.script.vmDescription)
    let replay = try StageReplay(script, cache: nil)
    try replay.run(.mixed(seed: 8))
    for (a, b) in zip(replay.stage.guest, held.replay.stage.guest) {
      // Equally long: the block lists are equal.
      #expect(memcmp(a.base, b.base, a.length) == 0, "\(a.name)")
    }
  }

  /// Every page is sent once, zero pages too: a destination may hold anything before.
  private func expectOncePerPage(_ script: StreamScript) throws {
    var seen = script.blocks.map { _ in Set<UInt64>() }
    var twice = 0
    for step in script.steps() {
      switch step {
      case .page(let block, let offset, _), .zero(let block, let offset, _):
        if !seen[block].insert(offset).inserted { twice += 1 }
      case .packet(let channel, let index):
        let packet = script.channels[channel].packets[index]
        for offset in packet.offsets where !seen[packet.block].insert(offset).inserted {
          twice += 1
        }
      default: break
      }
    }
    #expect(twice == 0)
    #expect(seen.map(\.count) == script.blocks.map { Int($0.usedLength / 4096) })
  }

  @Test("What the sender sends, the receiver holds", arguments: [0, 3])
  func roundTrip(channels: Int) throws {
    let held = try HeldSession("bios-111-zlib-2ch")
    let destination = try FakeDestination(channels: channels)
    let result = Self.send(held, to: destination) {
      $0.channels = channels
      if channels > 0 { $0.compression = (try? FormatWish(parsing: "zstd")) ?? .asTheyCome }
    }
    let heard = destination.end()
    _ = try result.get()
    let script = try StreamScript(main: heard[0], channels: Array(heard.dropFirst()))
    let reception = try Reception(heard.map { Line($0) })
    try reception.expectHeld(script)
    #expect(reception.heard[0].messages.last == .shut(0))
  }

  @Test(
    "Sync points are told as the source told them, else by the machine's version",
    arguments: [
      ("flush", "pc-q35-7.2", StreamDecoder.SyncMode.flush),
      ("section", "pc-q35-11.1", .perSection), (nil, "pc-q35-7.2", .perSection),
      (nil, "pc-i440fx-8.0", .perSection), (nil, "pc-q35-8.1", .flush),
      (nil, "pc-q35-10.0", .flush),
    ] as [(String?, String, StreamDecoder.SyncMode)])
  func autoSync(sync: String?, machine: String, mode: StreamDecoder.SyncMode) throws {
    let held = try HeldSession("bios-100-none-2ch") { manifest in
      manifest.sync = sync
      manifest.machine = machine
    }
    let destination = try FakeDestination(channels: 2)
    let result = Self.send(held, to: destination)
    let heard = destination.end()
    _ = try result.get()
    let script = try StreamScript(main: heard[0], channels: Array(heard.dropFirst()))
    #expect(script.decoder.syncMode == mode)
    #expect(script.decoder.configuration?.machine == machine)
  }

  @Test(
    "A machine type without a version: the destination shows how it syncs",
    arguments: ["microvm", "pc-q35-rhel9.4.0", "pc-i440fx-jammy"], [nil, "flush", "section"])
  func unversioned(machine: String, source: String?) throws {
    for sync in [SendOptions.Sync.flush, .section] {
      let held = try HeldSession("bios-100-none-2ch") { manifest in
        manifest.sync = source
        manifest.machine = machine
      }
      let destination = try FakeDestination(channels: 2, sync: sync)
      let result = Self.send(held, to: destination) {
        // One that answers is given the time; another is waited for in vain.
        $0.syncPatience = sync == .flush ? 10 : 0.05
      }
      let heard = destination.end()
      #expect(try result.get().sync == sync.rawValue)
      // Every channel owes a SYNC for each record, or for each section's end.
      let id = UInt8(held.script.decoder.ramSectionID!)
      let end: [UInt8] = [3, 0, 0, 0, id, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]
      #expect(Self.count(end, in: heard[0]) == (sync == .flush ? 1 : 0))
      for channel in heard.dropFirst() {
        let pattern: [UInt8] = [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0, 0, 0, 1]
        #expect(Self.count(pattern, in: channel) == (sync == .flush ? 1 : 3))
      }
    }
  }

  /// How often a pattern occurs.
  private static func count(_ pattern: [UInt8], in bytes: [UInt8]) -> Int {
    let (all, part) = (Data(bytes), Data(pattern))
    var (count, rest) = (0, all.indices)
    while let found = all.range(of: part, in: rest) {
      count += 1
      rest = found.upperBound..<all.endIndex
    }
    return count
  }

  @Test("The UUID is the destination's, else the guest's own")
  func uuid() throws {
    let own = "00112233-4455-6677-8899-aabbccddeeff"
    let other = "ffffffff-0000-0000-0000-000000000001"
    for (option, expected) in [(nil, own), (VMUUID(other), other)] {
      let held = try HeldSession("bios-100-none-2ch") {
        $0.uuid = own
        $0.validateUUID = true
      }
      let destination = try FakeDestination(channels: 2)
      let result = Self.send(held, to: destination) { $0.uuid = option }
      let heard = destination.end()
      _ = try result.get()
      for channel in heard.dropFirst() {
        #expect(VMUUID(bytes: channel[8..<24])?.description == expected)
      }
      let script = try StreamScript(main: heard[0], channels: Array(heard.dropFirst()))
      #expect(script.decoder.configuration?.uuid?.description == own)
    }
  }
}
