import Foundation
import Glibc
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing

/// Ports are scanned, health checks connect and leave, and worse: none of them keeps a mirror out,
/// and none of them changes a byte.
@Suite("Strangers at the NBD server", .beside)
struct HostileDiskClientTests {
  /// All that a client says until it has an export.
  private static let handshake =
    UInt32(3).big + NBDClient.option(3) + NBDClient.option(6, NBDClient.infoData("disk0"))

  @Test("One that stops anywhere in its handshake, or goes on a byte at a time, has to leave")
  func slow() throws {
    let serving = try DiskServerTests.Serving(try DiskPlace(1), timeout: 1)
    let whole = Self.handshake + NBDClient.option(7, NBDClient.infoData("disk0")).dropLast()
    let clients = try stride(from: 0, through: whole.count, by: 3).map { count in
      let client = try NBDClient(serving.place.uri)
      try client.send(Array(whole.prefix(count)))
      return client
    }
    let dribbling = try NBDClient(serving.place.uri)
    let socket = dribbling.socket
    Thread.detachNewThread {
      // Half a second a byte: it is never silent for longer than the limit.
      for byte in whole {
        guard Sockets.write(socket, [byte]) else { return }
        Thread.sleep(forTimeInterval: 0.25)
      }
    }
    // Meanwhile a mirror comes and does not wait for them.
    let disk = serving.place.disks[0]
    try disk.connect()
    try disk.copy()
    for client in clients { #expect(client.readToEnd()) }
    #expect(dribbling.readToEnd())
    // Not one that has an export: a mirror may have nothing to say.
    #expect(try disk.readBack() == disk.contents)
    try serving.end()
  }

  @Test("A hundred at once: the oldest make room")
  func many() throws {
    let serving = try DiskServerTests.Serving(try DiskPlace(1))
    let disk = serving.place.disks[0]
    try disk.connect()
    let clients = try (0..<100).map { _ in try NBDClient(serving.place.uri) }
    // Accepted in order, so when the last has its greeting room has been made.
    try clients[99].greet()
    #expect(clients[0].readToEnd())
    #expect(try clients[99].list() == ["disk0"])
    try disk.copy()
    disk.cut()
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, disk.client == nil { try? disk.connect() }
    #expect(try disk.readBack() == disk.contents)
    for client in clients { client.close() }
    try serving.end()
  }

  @Test("Hundreds that come and go leave nothing behind")
  func comeAndGo() throws {
    let place = try DiskPlace(1)
    let standby = try StandbyProcess(place.arguments())
    let worker = try #require(standby.multifd.process.worker)
    func reserved() throws -> Int {
      let text = try String(contentsOfFile: "/proc/\(worker)/statm", encoding: .utf8)
      return try #require(text.split(separator: " ").first.flatMap { Int($0) }) * 4096
    }
    func visit() throws {
      let client = try NBDClient(place.uri)
      try client.greet()
      client.close()
      let control = try Primary.connect(standby.uri)
      Sockets.write(control, Array("MFDC".utf8) + UInt32(14).big + Array("{\"version\":1}\n".utf8))
      Glibc.close(control)
    }
    for _ in 0..<20 { try visit() }
    let before = try reserved()
    for _ in 0..<200 { try visit() }
    // A thread that nobody has waited for keeps its stack: 8 MiB of addresses.
    // (Those of the last ones may still be at it where processors are busy.)
    let isGivenBack = try eventually(within: .seconds(10)) { try reserved() - before < 800 << 20 }
    let after = try reserved()
    #expect(isGivenBack, "\(after >> 20) MiB, \(before >> 20) before")
    let disk = place.disks[0]
    try disk.connect()
    try disk.copy()
    standby.multifd.process.kill(SIGTERM)
    #expect(try standby.multifd.wait().code == 128 + SIGTERM)
  }

  @Test("Garbage in the handshake")
  func handshakes() throws {
    let serving = try DiskServerTests.Serving(try DiskPlace(1, size: 1 << 16))
    var generator = SeededGenerator(seed: 77)
    for round in 0..<Soak.rounds(150) {
      let client = try NBDClient(serving.place.uri)
      defer { client.close() }
      var bytes = Self.handshake
      switch round % 3 {
      case 0: bytes = (0..<64).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
      case 1:
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
          let place = Int.random(in: 0..<bytes.count, using: &generator)
          bytes[place] = UInt8(truncatingIfNeeded: generator.next())
        }
      default:
        // A length that is not meant so.
        let lengths: [UInt32] = [0, 1, 7, 4096, 1 << 20, .max]
        let length = lengths.randomElement(using: &generator) ?? 0
        bytes.replaceSubrange(16..<20, with: length.big)
      }
      Sockets.write(client.socket, bytes)
      shutdown(client.socket, Int32(SHUT_WR))
      #expect(client.readToEnd())
    }
    // Seventy options are more than anybody needs.
    let asking = try NBDClient(serving.place.uri)
    defer { asking.close() }
    try asking.greet()
    #expect(throws: NBDClient.Ended.gone) { for _ in 0..<70 { _ = try asking.list() } }
    let disk = serving.place.disks[0]
    try disk.connect()
    try disk.copy()
    #expect(try disk.readBack() == disk.contents)
    try serving.end()
  }

  @Test("Whatever place a request says, beyond all numbers too: it is answered, and others as well")
  func places() throws {
    let serving = try DiskServerTests.Serving(try DiskPlace(1))
    let disk = serving.place.disks[0]
    try disk.connect()
    try disk.copy()
    let client = try disk.expectClient()
    for offset in [1 << 63 - 1, 1 << 63, .max - 1, .max] as [UInt64] {
      for count in [0, 1, .max] as [UInt32] {
        // What says nothing of a place has worked; 78 is nothing that was offered.
        for (kind, error) in [(0, 22), (3, 0), (4, 28), (6, 28), (78, 22)] as [(UInt16, UInt32)] {
          try client.send(NBDClient.request(kind, at: offset, count: count))
          let answer = try client.answer(7)
          #expect(answer == error || answer == 22, "\(kind) at \(offset), \(count)")
        }
      }
    }
    #expect(try disk.readBack() == disk.contents)
    try serving.end()
  }

  /// What a mirror never says, and a byte that was turned over makes of what it says.
  enum Nonsense: CaseIterable, CustomTestStringConvertible {
    case magic, kind, flags, beyondEnd, tooLong, readBeyondEnd, cutInside, random

    var testDescription: String { "\(self)" }

    func bytes(_ disk: MirroredDisk) -> [UInt8] {
      let size = UInt64(disk.size)
      return switch self {
      case .magic:
        [0x25, 0x60, 0x95, 0x14] + NBDClient.request(1, at: 0, count: 512).dropFirst(4)
          + [UInt8](repeating: 9, count: 512)
      case .kind: NBDClient.request(77, at: 0, count: 512)
      case .flags: NBDClient.request(1, flags: 0x8000, at: 0, count: 1) + [9]
      case .beyondEnd: NBDClient.request(1, at: size - 1, count: 2) + [9, 9]
      case .tooLong: NBDClient.request(1, at: 0, count: .max)
      case .readBeyondEnd: NBDClient.request(0, at: size, count: 1)
      case .cutInside: NBDClient.request(1, at: 0, count: 512) + [9, 9, 9]
      case .random: disk.randomBytes(400)
      }
    }
  }

  @Test(
    "A request that cannot be, while checkpoints are taken: no more of them, and the last one stays",
    arguments: Nonsense.allCases)
  func requests(nonsense: Nonsense) throws {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    try session.ask()
    let disk = place.disks[1]
    let client = try disk.expectClient()
    try client.send(nonsense.bytes(disk))
    if nonsense == .cutInside || nonsense == .random { shutdown(client.socket, Int32(SHUT_WR)) }
    // Answered, or the connection is gone.
    _ = try? client.read(16)
    #expect(throws: Primary.Ended.standbyGone) { try session.finish(3) }
    let outcome = try standby.outcome()
    #expect(outcome.cause.cause == .peerLives, "\(outcome.cause)")
    #expect("\(outcome.cause)".hasPrefix("disk 'disk1': "), "\(outcome.cause)")
    try session.expect(standby.store, holds: 2, "\(nonsense)")
  }
}
