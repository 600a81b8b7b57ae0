import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Transport
import Wire

@Suite("Receiving recorded sessions", .beside)
struct ReceiveTests {
  static let sessions = Fixtures.sessions.filter { !$0.isCOLO }

  /// A way in which a source may open its connections and write to them.
  enum Manner: CaseIterable {
    /// Main, then the channels in order: what QEMU 7.2 relies on.
    case inOrder
    /// Channels first, the last one first; main begins late.
    case channelsFirst
    /// In any order, in small odd pieces, the number of channels told by the operator.
    case shuffled
    /// One channel connects when everything else is under way.
    case lateChannel
    /// The channels are silent while main runs as far as it can.
    case silentChannels

    func lines(_ lines: [Line], seed: UInt64) -> [Line] {
      var lines = lines
      var generator = SeededGenerator(seed: seed)
      switch self {
      case .inOrder: break
      case .channelsFirst:
        lines[0].writeAfter = 0.1
        lines.reverse()
      case .shuffled:
        for index in lines.indices { lines[index].chunk = 1...1999 }
        lines.shuffle(using: &generator)
      case .lateChannel:
        if lines.count > 1 { lines[lines.count - 1].connectAfter = 0.2 }
      case .silentChannels:
        for index in lines.indices.dropFirst() { lines[index].writeAfter = 0.15 }
      }
      return lines
    }

    var tellsChannels: Bool { self == .shuffled || self == .lateChannel }
  }

  @Test("The name of a store that is made for a guest is forced to disk, as what is in it is")
  func storesName() throws {
    let session = try #require(Fixtures.session("bios-100-main-only"))
    for isThere in [false, true] {
      let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
      defer { folder.remove() }
      if isThere { mkdir(folder("store"), 0o700) }
      let log = SystemCallLog(folder("calls"))
      let multifd = try MultiFDProcess(
        ["receive", "--listen", "unix:" + folder("socket"), "--store", folder("store")],
        environment: log.environment())
      let source = FakeSource(
        try Line.of(session), to: try Endpoint(parsing: multifd.waitListening()))
      let result = try multifd.wait()
      _ = source.end()
      #expect(result.code == 0, "\(result)")
      let calls = try log.lines()
      #expect(calls.contains("fsync " + folder("store")), "\(calls)")
      // Of one that was there before somebody else has seen to that.
      #expect(calls.contains("fsync " + folder.path) == !isThere, "\(calls)")
    }
  }

  @Test("All come in whole, however they come", arguments: sessions, Manner.allCases)
  func whole(session: Fixtures.Session, manner: Manner) throws {
    let script = try StreamScript(session)
    let lines = manner.lines(try Line.of(session), seed: 3)
    let reception = try Reception(lines, over: manner == .shuffled ? .unix : .tcp) {
      if manner.tellsChannels { $0.channels = session.channels.count }
      // Also where there is no processor for them.
      $0.preallocationThreads = manner == .inOrder || manner == .silentChannels ? 2 : nil
    }
    try reception.expectHeld(script)
    guard case .success(let summary) = reception.result else { return }
    // Without return path nothing is said.
    #expect(reception.heard.allSatisfy { $0.bytes.isEmpty })
    #expect(!summary.returnPath && summary.result == "held")
    #expect(summary.ram.total == script.blocks.reduce(0) { $0 + $1.usedLength })
    #expect(summary.channels.map(\.id) == Array(0..<session.channels.count))
    #expect(summary.channels.allSatisfy { $0.syncs == UInt64(script.markers) })
    let normal = script.channels.reduce(0) { $0 + $1.packets.reduce(0) { $0 + $1.normal.count } }
    #expect(summary.channels.reduce(0) { $0 + $1.normal } == UInt64(normal))
    let sent = lines.reduce(0) { $0 + $1.bytes.count }
    #expect(summary.transferred == UInt64(sent))
  }

  @Test("A source that listens gets PONG, and SHUT 0 once the guest is held", arguments: sessions)
  func verdict(session: Fixtures.Session) throws {
    let session = try Tampered(session.name)
    let reception = try Reception(session.lines, over: .tcp)
    try reception.expectHeld(session.script)
    guard case .success(let summary) = reception.result else { return }
    #expect(summary.returnPath)
    let heard = reception.heard[0]
    // Machine types from 8.1 to 11.0 may wait for an acknowledgement that they do not ask for.
    let machine = try #require(session.script.decoder.configuration?.machine)
    let acks =
      MachineVersion(machine: machine)
      .map { (MachineVersion(8, 1)...MachineVersion(11, 0)).contains($0) } ?? false
    #expect(heard.messages == (acks ? [.switchoverAck] : []) + [.pong(1), .shut(0)])
    // Whole already; "held" it is once the source knows, for until then the guest goes on there if
    // we die.
    #expect(heard.stateAtVerdict == "unsettled" || heard.stateAtVerdict == "held")
    #expect(reception.heard.dropFirst().allSatisfy { $0.bytes.isEmpty })
  }

  @Test("PINGs are echoed, and the switchover is agreed to when the operator says so")
  func pings() throws {
    var session = try Tampered("bios-111-zstd-2ch", returnPath: false)
    let commands: [Command] = [.openReturnPath, .ping(7), .ping(0xffff_ffff)]
    session.lines[0].bytes = try session.lines[0].bytes.inserting(
      commands.flatMap { $0.encode() }, after: session.script.main.endOfConfiguration())
    session.lines[0].end = .wait
    let reception = try Reception(session.lines) { $0.switchoverAck = true }
    try reception.expectHeld(session.script)
    #expect(
      reception.heard[0].messages == [.switchoverAck, .pong(7), .pong(0xffff_ffff), .shut(0)])
  }

  @Test(
    "A source that goes round with nothing to send waits for the acknowledgement, and gets it once",
    arguments: [60, 200])
  func switchoverAck(rounds: Int) throws {
    // A machine type that does not tell.
    var session = try Tampered("bios-72-main-only")
    let main = session.lines[0].bytes
    var encoder = StreamEncoder()
    let id = try #require(session.script.decoder.ramSectionID)
    for _ in 0..<rounds {
      encoder.beginSection(.part, id: id, name: "ram", instance: 0, version: 4)
      encoder.endOfRAMSection()
      encoder.footer(id: id)
    }
    let footer: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, UInt8(id)]
    let start = try #require(Data(main).range(of: Data(footer))?.upperBound)
    session.lines[0].bytes = try main.inserting(encoder.bytes, after: start)
    let reception = try Reception(session.lines)
    try reception.expectHeld(session.script)
    let acks: [ReturnPathMessage] = rounds > 64 ? [.switchoverAck] : []
    #expect(reception.heard[0].messages == [.pong(1)] + acks + [.shut(0)])
  }

  @Test("A second source is turned away and the first one notices nothing")
  func secondSource() throws {
    let session = try Tampered("bios-100-zlib-2ch")
    var lines = session.lines
    for index in 1..<lines.count { lines[index].writeAfter = 0.3 }
    var second = Line(try Fixtures.bytes(Fixtures.sessions[0].main))
    second.connectAfter = 0.1
    let reception = try Reception(lines + [second])
    try reception.expectHeld(session.script)
    #expect(reception.heard[3].bytes.isEmpty && reception.heard[3].closed)
    #expect(reception.heard[0].messages.last == .shut(0))
  }

  @Test("Strangers and port scans beside a migration do not disturb it")
  func strangers() throws {
    let session = try Tampered("bios-72-zlib-2ch")
    var lines = session.lines
    for index in 1..<lines.count { lines[index].writeAfter = 0.3 }
    var late = Line(Array("GET / HTTP/1.1\r\n\r\n".utf8))
    late.connectAfter = 0.1
    let scans = [Line([], end: .close), Line([], end: .reset), Line([0x51], end: .close)]
    let reception = try Reception(scans + lines + [late] + scans, over: .tcp)
    try reception.expectHeld(session.script)
  }

  /// What is asked for, of which method's session, and who does it.
  static let names = [
    ("zstd", "zstd", "zstd"), ("zstd,window-log=20", "zstd", "zstd"), ("nocomp", "none", "nocomp"),
    ("none", "none", "nocomp"), ("zlib,level=1", "zlib", "zlib"),
    ("zlib", "zlib", Lab.igzipUnavailable == nil ? "igzip" : "zlib"),
  ]

  @Test("The backend may be named, or QEMU's method, if it is the right one", arguments: names)
  func named(spec: String, method: String, backend: String) throws {
    let session = try Tampered("bios-111-\(method)-2ch")
    let reception = try Reception(session.lines) { $0.compression = try? .init(parsing: spec) }
    try reception.expectHeld(session.script)
    guard case .success(let summary) = reception.result else { return }
    #expect(summary.compression.backend == backend)
    #expect(method == "none" || summary.compression.ratio > 1)
  }

  @Test("A UUID that all agree on is the guest's")
  func uuid() throws {
    let uuid = try #require(VMUUID("00112233-4455-6677-8899-aabbccddeeff"))
    var session = try Tampered("bios-100-none-2ch")
    for id in 0..<2 { session.channel(id) { $0.patch(8, uuid.bytes) } }
    let reception = try Reception(session.lines) { $0.uuid = uuid }
    try reception.expectHeld(session.script)
    #expect(try Store.open(reception.store).manifest.uuid == uuid.description)
  }

  @Test("What a store held before decides")
  func occupied() throws {
    let session = try Tampered("bios-100-zlib-2ch")
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    let first = try Reception(session.lines, in: folder("store"))
    try first.expectHeld(session.script)
    let second = try Reception(session.lines, in: folder("store"))
    #expect(second.failure()?.kind == .failed)
    #expect(second.failure()?.what == "store")
    #expect(second.heard.isEmpty, "nobody was let in")
    try Reception.expectHeld(folder("store"), session.script)
  }
}
