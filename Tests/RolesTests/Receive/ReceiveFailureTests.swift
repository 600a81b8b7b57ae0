import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

/// What a peer can do wrong, and what comes of it: the right exit code, a line that says where,
/// SHUT 1 where the source listens, and no trace in the store.
@Suite("Receptions that fail", .beside)
struct ReceiveFailureTests {
  /// Expects that the source was told.
  private func expectShut1(
    _ reception: Reception, location: SourceLocation = #_sourceLocation
  ) {
    #expect(reception.heard[0].messages.last == .shut(1), sourceLocation: location)
  }

  // MARK: Peers

  @Test("A main channel that says its first words and no more")
  func silentMain() throws {
    var session = try Tampered("bios-100-none-2ch")
    let end = try session.script.main.endOfConfiguration()
    session.lines[0].bytes = Array(session.lines[0].bytes.prefix(end + 3))
    let reception = try Reception(session.lines) { $0.timeout = 0.4 }
    // Its last bytes are half of an element: silence inside is a time-out.
    reception.expectFailure(.unreachable, "main channel, byte")
  }

  @Test("Two sources whose UUIDs differ, and a guest that is not the expected one")
  func wrongUUID() throws {
    let other = try #require(VMUUID("00112233-4455-6677-8899-aabbccddeeff"))
    var session = try Tampered("bios-111-zlib-2ch")
    session.mainFirst()
    session.channel(1) { $0.patch(8, other.bytes) }
    let mixed = try Reception(session.lines)
    mixed.expectFailure(.corrupt, "channel", "UUID", other.description)
    expectShut1(mixed)
    session.channel(0) { $0.patch(8, other.bytes) }
    let unexpected = try Reception(session.lines) { $0.uuid = .zero }
    unexpected.expectFailure(.corrupt, "channel", "UUID is \(other)", "expected \(VMUUID.zero)")
    expectShut1(unexpected)
  }

  @Test("A UUID in the configuration that is not the expected one")
  func configuredUUID() throws {
    let uuid = try #require(VMUUID("00112233-4455-6677-8899-aabbccddeeff"))
    var session = try Tampered("bios-100-main-only", returnPath: false)
    let end = try session.script.main.endOfConfiguration()
    var configuration = try #require(session.script.decoder.configuration)
    configuration.uuid = uuid
    session.lines[0].bytes =
      Array(session.script.main[..<8]) + configuration.encode()
      + session.script.main[end...]
    let reception = try Reception(session.lines) { $0.uuid = .zero }
    reception.expectFailure(.corrupt, "main channel", "UUID is \(uuid)")
    try Reception(session.lines) { $0.uuid = uuid }.expectHeld(session.script)
  }

  // MARK: Channels

  @Test("A channel that is missing", arguments: [0, 1])
  func missing(id: Int) throws {
    var session = try Tampered("bios-100-zstd-2ch")
    session.lines.remove(at: id + 1)
    let reception = try Reception(session.lines) {
      $0.channels = 2
      $0.timeout = 0.4
    }
    reception.expectFailure(
      .unreachable, "channel \(id)", "has not connected within 0.4 s", "1 of 2")
    #expect(reception.failure()?.hint?.contains("--channels") == true)
    expectShut1(reception)
  }

  @Test("A number that is missing shows without --channels too")
  func gap() throws {
    var session = try Tampered("bios-100-zstd-2ch")
    session.lines.remove(at: 1)
    let reception = try Reception(session.lines) { $0.timeout = 0.4 }
    reception.expectFailure(.unreachable, "channel 0", "has not connected")
  }

  @Test("More channels than --channels")
  func tooMany() throws {
    var session = try Tampered("bios-111-none-2ch")
    session.mainFirst()
    let reception = try Reception(session.lines) { $0.channels = 1 }
    reception.expectFailure(.refused, "channel 1", "more channels than the 1 expected")
    expectShut1(reception)
  }

  @Test("Channels where the operator has said that there are none")
  func notPlain() throws {
    for (name, kind) in [
      ("bios-111-none-2ch", Failure.Kind.refused), ("bios-72-none-2ch", .corrupt),
    ] {
      var session = try Tampered(name)
      session.lines.removeLast(2)
      let reception = try Reception(session.lines) { $0.channels = 0 }
      // With legacy sync only the missing pages tell.
      reception.expectFailure(kind)
      expectShut1(reception)
    }
  }

  @Test("Two connections with one number")
  func sameNumber() throws {
    var session = try Tampered("bios-100-none-2ch")
    session.mainFirst()
    session.channel(1) { $0[24] = 0 }
    let reception = try Reception(session.lines)
    reception.expectFailure(.corrupt, "channel 0", "two connections claim this number")
    expectShut1(reception)
  }

  @Test("A channel that dies in the middle of a packet", arguments: [Line.End.close, .reset])
  func dies(end: Line.End) throws {
    var session = try Tampered("bios-111-none-2ch")
    let (id, number, at) = try session.bigPacket()
    for cut in [at + 5, at + 700, at + 1344 + 9999] {
      session.lines[id + 1] = Line(Array(session.script.channels[id].bytes[..<cut]), end: end)
      session.mainFirst()
      let reception = try Reception(session.lines, over: .tcp)
      reception.expectFailure(.failed, "channel \(id), packet \(number), byte \(at)", "closed")
      expectShut1(reception)
    }
  }

  @Test("A channel that ends between two packets, before its last SYNC")
  func endsEarly() throws {
    var session = try Tampered("bios-72-zlib-2ch")
    let packets = session.script.channels[1].packets
    let last = try #require(packets.last { $0.header.flags.contains(.sync) })
    session.lines[2] = Line(
      Array(session.script.channels[1].bytes[..<last.range.lowerBound]), end: .close)
    let reception = try Reception(session.lines)
    reception.expectFailure(
      .failed, "channel 1", "before sync point \(session.script.markers)")
    expectShut1(reception)
  }

  @Test("A channel that stalls in the middle of a packet, and one that stalls between")
  func stalls() throws {
    var session = try Tampered("bios-100-none-2ch")
    let (id, number, at) = try session.bigPacket()
    session.lines[id + 1] = Line(Array(session.script.channels[id].bytes[..<(at + 3000)]))
    let inside = try Reception(session.lines) { $0.timeout = 0.4 }
    inside.expectFailure(.unreachable, "channel \(id), packet \(number), byte \(at)", "silent")
    expectShut1(inside)
    session.lines[id + 1] = Line(Array(session.script.channels[id].bytes[..<at]))
    let between = try Reception(session.lines) { $0.timeout = 0.4 }
    between.expectFailure(.unreachable, "channel \(id)", "silent for 0.4 s before sync point")
    expectShut1(between)
  }

  @Test("A channel whose init packet is wrong or cut short is none: the source's is missed")
  func badInit() throws {
    var session = try Tampered("bios-100-none-2ch")
    session.channel(0) { $0.patch(4, UInt32(2)) }
    let version = try Reception(session.lines) { $0.timeout = 0.4 }
    version.expectFailure(.unreachable, "channel 0", "has not connected")
    session.lines[1] = Line(Array(session.script.channels[0].bytes.prefix(40)), end: .close)
    let short = try Reception(session.lines) { $0.timeout = 0.4 }
    short.expectFailure(.unreachable, "channel 0", "has not connected")
    expectShut1(short)
  }

  @Test("Pages before there is a block list")
  func noBlocks() throws {
    var session = try Tampered("bios-100-none-2ch")
    let end = try session.script.main.endOfConfiguration()
    session.lines[0].bytes = Array(session.lines[0].bytes.prefix(end + 1))
    // The SYNC for START, which nothing else can come before.
    for id in 0..<2 { session.channel(id) { $0.removeSubrange(64..<64 + 1344) } }
    // The main channel has stopped inside an element, and may be found out first: it is asked for
    // the next byte before the channels' pages are there.
    let reception = try Reception(session.lines) { $0.timeout = 0.4 }
    reception.expectFailure(.unreachable)
    let why = reception.failure()?.why ?? ""
    #expect(["no block list within 0.4 s", "is silent"].contains { why.contains($0) }, "\(why)")
  }

  // MARK: Backends

  @Test("No backend for the stream's method")
  func noBackend() throws {
    let folder = try TemporaryFolder()
    let empty = PluginLoader(
      searchPath: PluginSearchPath(
        explicit: [folder.path], environment: [:], executable: folder("none/multifd")))
    let session = try Tampered("bios-111-zstd-2ch")
    let reception = try Reception(session.lines, loader: empty)
    reception.expectFailure(.refused, "zstd", folder.path)
    expectShut1(reception)
    let named = try Reception(session.lines, loader: empty) {
      $0.compression = try? .init(parsing: "zstd")
    }
    named.expectFailure(.refused, "zstd")
    #expect(named.heard.isEmpty, "it did not even listen")
  }

  @Test("A file that is no backend")
  func badBackend() throws {
    let folder = try TemporaryFolder()
    try Data("nothing to load".utf8).write(to: URL(filePath: folder("libmultifd-zlib.so")))
    let loader = PluginLoader(
      searchPath: PluginSearchPath(
        explicit: [folder.path], environment: [:], executable: folder("none/multifd")))
    let session = try Tampered("bios-111-zlib-2ch")
    let reception = try Reception(session.lines, loader: loader)
    reception.expectFailure(.refused, "libmultifd-zlib.so")
    expectShut1(reception)
  }

  @Test("Another compression than the operator's", arguments: ["nocomp", "zstd"])
  func mismatch(backend: String) throws {
    let session = try Tampered("bios-111-zlib-2ch")
    let reception = try Reception(session.lines) { $0.compression = try? .init(parsing: backend) }
    reception.expectFailure(.refused, "backend \(backend)", "zlib")
    #expect(reception.failure()?.hint?.contains("multifd-compression") == true)
    expectShut1(reception)
  }

  @Test("A backend that no QEMU source speaks, an option that there is not")
  func wrongChoice() throws {
    let session = try Tampered("bios-111-zlib-2ch")
    try Reception(session.lines) { $0.compression = try? .init(parsing: "lz4") }
      .expectFailure(.refused, "backend lz4", "decodes lz4/1, the source sends", "zlib")
    try Reception(session.lines) { $0.compression = try? .init(parsing: "zlib,speed=1") }
      .expectFailure(.usage, "zlib, option", "speed")
  }

  // MARK: Features

  @Test("A COLO primary", arguments: ["bios-colo-72-plain", "bios-colo-100-none-2ch"])
  func colo(name: String) throws {
    let session = try Tampered(name, returnPath: false)
    let reception = try Reception(session.lines)
    reception.expectFailure(.refused, "main channel", "COLO primary")
    #expect(reception.failure()?.hint?.contains("x-colo") == true)
  }

  @Test("A source that keeps RAM to itself")
  func ignoreShared() throws {
    var session = try Tampered("bios-111-main-only", returnPath: false)
    var configuration = try #require(session.script.decoder.configuration)
    configuration.capabilities = ["x-ignore-shared"]
    let end = try session.script.main.endOfConfiguration()
    session.lines[0].bytes =
      Array(session.script.main[..<8]) + configuration.encode()
      + session.script.main[end...]
    let reception = try Reception(session.lines)
    reception.expectFailure(.refused, "main channel", "x-ignore-shared")
  }

  @Test("Device state over multifd, iterated devices, postcopy")
  func unsupported() throws {
    var vfio = try Tampered("bios-111-none-2ch")
    let (number, at) = try vfio.script.channels[0].first { $0.normal.count > 0 }
    vfio.channel(0) { $0.patch(at + 8, UInt32(0x40)) }
    let state = try Reception(vfio.lines)
    state.expectFailure(.refused, "channel 0, packet \(number)", "VFIO")
    expectShut1(state)

    var postcopy = try Tampered("bios-111-main-only")
    let end = try postcopy.script.main.endOfConfiguration()
    postcopy.lines[0].bytes = try postcopy.script.main.inserting([8, 0, 3, 0, 0], after: end)
    try Reception(postcopy.lines).expectFailure(.refused, "main channel, byte", "POSTCOPY_ADVISE")

    var encoder = StreamEncoder()
    encoder.beginSection(.start, id: 77, name: "dirty-bitmap", instance: 0, version: 1)
    encoder.raw([1, 2, 3])
    encoder.footer(id: 77)
    var iterated = try Tampered("bios-111-main-only")
    iterated.lines[0].bytes = try iterated.lines[0].bytes.inserting(
      encoder.bytes, after: end + 14)
    let reception = try Reception(iterated.lines)
    reception.expectFailure(.refused, "main channel", "dirty-bitmap")
    expectShut1(reception)
  }

  // MARK: Ends

  @Test("A signal in the middle of it", arguments: [2, 15] as [Int32])
  func cancelled(signal: Int32) throws {
    var session = try Tampered("bios-100-none-2ch")
    session.lines[1].bytes.removeLast(2000)
    let reception = try Reception(session.lines) { _ in
    } meanwhile: { receiver, _ in
      Thread.sleep(forTimeInterval: 0.3)
      receiver.cancel(.signal(signal), "interrupted")
    }
    reception.expectFailure(.signal(signal), "interrupted")
    #expect(reception.failure()?.kind == .signal(signal))
    expectShut1(reception)
  }

  @Test("A signal before anybody has come")
  func cancelledEarly() throws {
    let reception = try Reception([]) { _ in
    } meanwhile: { receiver, _ in
      receiver.cancel(.signal(15), "terminated")
    }
    reception.expectFailure(.signal(15), "terminated")
  }

  @Test("A source that is gone when its guest is held: nobody knows where it runs")
  func goneAtVerdict() throws {
    // It does not wait for the verdict, and resets the connection.
    var session = try Tampered("bios-100-main-only")
    session.lines[0].end = .reset
    let reception = try Reception(session.lines, over: .tcp)
    // Whether the bytes of SHUT could still be written decides which of the two it is.
    switch reception.result {
    case .success: #expect(reception.tree.contains("manifest.json"))
    case .failure(let failure):
      #expect(failure.kind == .failed || failure.kind == .unreachable, "\(failure)")
      // Either it was to be told, or it is to have its guest.
      #expect(failure.why.contains("is held") == !reception.tree.isEmpty, "\(failure)")
    }
  }

  @Test("Devices without end: memory is bounded")
  func endlessDevices() throws {
    var session = try Tampered("bios-111-main-only")
    var encoder = StreamEncoder()
    encoder.beginSection(.full, id: 900, name: "filler", instance: 0, version: 1)
    encoder.raw([UInt8](repeating: 1, count: 40_000))
    encoder.footer(id: 900)
    let section = encoder.take()
    let end = try session.script.main.endOfConfiguration()
    session.lines[0].bytes = try session.lines[0].bytes.inserting(
      Array(repeating: section, count: 5).flatMap(\.self), after: end + 14)
    let reception = try Reception(session.lines) { $0.limits.maxDeviceState = 150_000 }
    reception.expectFailure(.refused, "main channel", "more than 150000 bytes")
    expectShut1(reception)
  }

  @Test("A time-out that is no number", arguments: [.nan, 0, -1, .infinity] as [Double])
  func timeout(seconds: Double) throws {
    try Reception([]) { $0.timeout = seconds }.expectFailure(.usage, "receive", "time-out")
  }
}
