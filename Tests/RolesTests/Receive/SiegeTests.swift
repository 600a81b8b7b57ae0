import Foundation
import Glibc
import Roles
import SessionReplay
import TestSupport
import Testing
import Transport

/// A source comes in and its guest is held, whatever another host does to the port meanwhile; and
/// that costs no more than is known beforehand.
@Suite("Besieged", .beside)
struct SiegeTests {
  /// More connections than there are places, or than are looked at.
  private static let count = 2000

  private static func port(_ uri: String) throws -> Int {
    try #require(uri.split(separator: ":").last.flatMap { Int($0) })
  }

  private static func expectBounded(
    _ figures: Siege.Figures, from before: Siege.Figures,
    location: SourceLocation = #_sourceLocation
  ) {
    print("  besieged: \(figures), before: \(before)")
    // The siege was under way.
    #expect(figures.descriptors > 100, "\(figures)", sourceLocation: location)
    // 600 places; the rest is the guest's.
    #expect(figures.descriptors < 700, "\(figures)", sourceLocation: location)
    #expect(figures.threads < 40, "\(figures)", sourceLocation: location)
    #expect(figures.memory - before.memory < 100 << 20, "\(figures)", sourceLocation: location)
  }

  @Test("A reception, of a QEMU and over a link", arguments: [false, true])
  func receive(relayed: Bool) throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let receive = try MultiFDProcess([
      "receive", "--listen", "tcp:127.0.0.1:0", "--progress", "none", "--json", "--store",
      folder("store"),
    ])
    var processes = [receive]
    if relayed {
      processes.append(
        try MultiFDProcess([
          "relay", "--listen", "tcp:127.0.0.1:0", "--progress", "none", "--json", "--to",
          "link:" + receive.waitListening(),
        ]))
    }
    let entry = try processes[processes.count - 1].waitListening()
    let workers = try processes.map { try #require($0.process.worker) }
    let before = try workers.map { try #require(Siege.Figures(of: $0)) }
    let sieges = try zip(processes, workers).map {
      Siege(
        try Self.port($0.waitListening()), of: $1, saying: Siege.halves, count: Self.count)
    }
    defer { for siege in sieges { siege.end() } }
    // There is no place any more.
    for siege in sieges { try #require(siege.waits(for: 800)) }
    let session = try Tampered("bios-72-zlib-2ch")
    let source = FakeSource(session.lines, to: try Endpoint(parsing: entry))
    for process in processes.reversed() {
      let result = try process.wait()
      #expect(result.code == 0, "\(result)")
      let told = result.errors.split(separator: "\n").filter { $0.contains("turned away") }
      // One for each kind.
      #expect(told.count == Set(told).count && told.count < 12, "\(result.errors)")
    }
    _ = source.end()
    try Reception.expectHeld(folder("store"), session.script)
    for (siege, before) in zip(sieges, before) { Self.expectBounded(siege.end(), from: before) }
  }

  @Test("A standby and its disks: the guest is copied, protected, and has its checkpoints")
  func standby() throws {
    let place = try DiskPlace(2, over: "tcp:127.0.0.1:\(Sockets.freePort())")
    let standby = try StandbyProcess(tcp: true, place.arguments())
    let worker = try #require(standby.multifd.process.worker)
    let before = try #require(Siege.Figures(of: worker))
    let go = NBDClient.option(NBDClient.Option.go, NBDClient.infoData("disk0"))
    let clients = Siege(
      try Self.port(place.uri), of: worker,
      saying: [
        [], [0], UInt32(3).big, UInt32(3).big + go.prefix(20), UInt32(3).big + go.dropLast(),
        // It has an export, and says nothing.
        UInt32(3).big + go,
      ], count: Self.count)
    defer { clients.end() }
    let strangers = Siege(
      try Self.port(standby.uri), of: worker, saying: Siege.halves, count: Self.count)
    defer { strangers.end() }
    try #require(clients.waits(for: 300) && strangers.waits(for: 800))
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin(amongOthers: true)
    try session.play(upTo: 4)
    let figures = strangers.end()
    clients.end()
    print("  besieged: \(figures), before: \(before)")
    // As many clients as are served at once, twice, and the places of the lobby.
    #expect(figures.threads < 200 && figures.descriptors < 900, "\(figures)")
    #expect(figures.memory - before.memory < 100 << 20, "\(figures)")
    session.die()
    #expect(try standby.multifd.wait().code == 3)
    try session.expect(standby.store, holds: 4)
  }

  @Test("Who is of another host is no channel: neither silent nor with a word")
  func elsewhere() throws {
    var session = try Tampered("bios-72-zlib-2ch")
    for index in 1...2 { session.lines[index].writeAfter = 0.3 }
    let strangers = Siege.halves.map { bytes in
      var line = Line(bytes)
      line.from = Siege.address
      return line
    }
    // It goes on within its time-out, though nobody has told how many channels there are.
    let reception = try Reception(session.lines + strangers, over: .tcp) { $0.timeout = 30 }
    try reception.expectHeld(session.script)
  }
}
