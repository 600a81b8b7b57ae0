import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing

@Suite("The NBD server of a standby", .beside)
struct DiskServerTests {
  /// A server of some disks, and nobody to protect.
  struct Serving {
    let place: DiskPlace
    let standby: LocalStandby

    init(_ place: DiskPlace, timeout: Double = 20) throws {
      self.place = place
      standby = try LocalStandby(disks: place.options()) { $0.timeout = timeout }
    }

    /// Ends it.
    func end() throws {
      standby.receiver.cancel(.failed, "the test is over")
      _ = try standby.refusal()
    }
  }

  @Test("Every way into an export says its size and what it can do")
  func handshake() throws {
    let serving = try Serving(try DiskPlace(2, size: 3 << 16))
    let uri = serving.place.uri
    for way in 0..<4 {
      let client = try NBDClient(uri)
      defer { client.close() }
      try client.greet(flags: way == 3 ? 1 : 3)
      switch way {
      case 0: try client.go("disk1")
      case 1:
        try client.info("disk1")
        #expect(client.size == 3 << 16)
        try client.go("disk1")
      case 2: try client.exportName("disk1")
      default: try client.exportName("disk1", zeroes: true)
      }
      #expect(client.size == 3 << 16)
      // Has flags, FLUSH, FUA, TRIM, WRITE_ZEROES; and no multi-conn.
      #expect(client.flags == 0b110_1101, "\(client.flags)")
      #expect(try client.perform(.read, at: 0, count: 10).data == [UInt8](repeating: 0, count: 10))
      try client.send(NBDClient.request(2, at: 0, count: 0))
      #expect(client.readToEnd())
    }
    let client = try NBDClient(uri)
    defer { client.close() }
    try client.greet()
    #expect(try client.list() == ["disk0", "disk1"])
    // STARTTLS, structured replies, contexts; names that are none; and then it goes on.
    for (option, data) in [(5, []), (8, []), (10, [0, 0]), (4711, [1, 2, 3])] as [(UInt32, [UInt8])]
    {
      #expect(throws: NBDClient.Ended.refused(0x8000_0001)) { try client.ask(option, data) }
    }
    #expect(throws: NBDClient.Ended.refused(0x8000_0003)) { try client.ask(3, [1]) }
    #expect(throws: NBDClient.Ended.refused(0x8000_0003)) { try client.ask(7, [0, 0, 0, 9, 1]) }
    #expect(throws: NBDClient.Ended.refused(NBDClient.Code.unknown)) { try client.info("disk2") }
    #expect(throws: NBDClient.Ended.refused(NBDClient.Code.unknown)) { try client.go("") }
    #expect(try client.ask(NBDClient.Option.abort).isEmpty)
    #expect(client.readToEnd())
    // The old way there is no word for it.
    let other = try NBDClient(uri)
    defer { other.close() }
    try other.greet()
    #expect(throws: NBDClient.Ended.gone) { try other.exportName("disk2") }
    try serving.end()
  }

  @Test("Reads see what was written, in the copy and in every epoch")
  func contents() throws {
    let place = try DiskPlace(2, size: 256 << 10)
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri, writes: 20)
    defer { session.die() }
    for disk in place.disks { try disk.connect() }
    for disk in place.disks {
      try disk.copy()
      try disk.write(60)
      #expect(try disk.readBack() == disk.contents)
    }
    try session.protect()
    for number in 1...4 {
      try session.ask()
      for disk in place.disks {
        #expect(try disk.readBack() == disk.contents, "before checkpoint \(number)")
      }
      // What was read after the FLUSH is no write.
      try session.finish(number)
      for disk in place.disks {
        #expect(try disk.readBack() == disk.contents, "after checkpoint \(number)")
      }
    }
    session.die()
    _ = try standby.outcome()
    try session.expect(standby.store, holds: 4)
  }

  @Test("Odd lengths and places; and what lies beyond the end is refused, all of it")
  func edges() throws {
    let size = (256 << 10) + 1536
    let serving = try Serving(try DiskPlace(1, size: size))
    let disk = serving.place.disks[0]
    try disk.connect()
    let client = try disk.expectClient()
    for range in [0..<1, 1..<2, 4095..<4097, size - 1..<size, 511..<8193, 0..<size] {
      try disk.write(disk.randomBytes(range.count), at: range, as: .write)
      #expect(
        try client.perform(.read, at: range.lowerBound, count: range.count).data
          == Array(disk.contents[range]), "\(range)")
    }
    for range in [3..<5, 4096..<8192, size - 700..<size] {
      try disk.write(nil, at: range, as: .writeZeroes, flags: 2)
    }
    let before = disk.difference([UInt8](repeating: 0, count: size))
    #expect(before != nil)
    // Of a write the data come all the same, and the next request is understood.
    for (offset, count) in [(size, 1), (size - 1, 2), (1 << 62, 512), (Int.max, 4096)] {
      let data = [UInt8](repeating: 1, count: count)
      #expect(try client.perform(.write, at: offset, count: count, data).error == 28)
      #expect(try client.perform(.trim, at: offset, count: count).error == 28)
      #expect(try client.perform(.writeZeroes, at: offset, count: count).error == 28)
      #expect(try client.perform(.read, at: offset, count: count).error == 22)
    }
    // The sum is beyond 64 bits.
    try client.send(NBDClient.request(0, at: .max, count: .max))
    #expect(try client.answer(7) == 22)
    #expect(try client.perform(.writeZeroes, at: 0, count: Int(UInt32.max)).error == 28)
    #expect(try client.perform(.read, at: 0, count: 33 << 20).error == 22)
    // A flag that was not offered, and a request.
    #expect(try client.perform(.write, flags: 64, at: 0, count: 2, [1, 2]).error == 22)
    try client.send(NBDClient.request(5, at: 0, count: 4096))
    #expect(try client.answer(7) == 22)
    #expect(try client.perform(.flush).error == 0)
    let difference = disk.difference(disk.contents)
    #expect(difference == nil)
    // Nobody waits for 40 MiB of a write that cannot be.
    try client.send(NBDClient.request(1, at: 0, count: 40 << 20))
    #expect(client.readToEnd())
    try serving.end()
  }

  @Test("A disk has one client: another is refused, and the first does not notice")
  func second() throws {
    let serving = try Serving(try DiskPlace())
    let (disk, other) = (serving.place.disks[0], serving.place.disks[1])
    try disk.connect()
    try disk.copy(0..<0.5)
    for _ in 0..<3 {
      #expect(throws: NBDClient.Ended.refused(NBDClient.Code.policy)) {
        try NBDClient(serving.place.uri, export: "disk0")
      }
      let old = try NBDClient(serving.place.uri)
      defer { old.close() }
      try old.greet()
      // To look is allowed.
      try old.info("disk0")
      #expect(throws: NBDClient.Ended.gone) { try old.exportName("disk0") }
    }
    try other.connect()
    try disk.copy(0.5..<1)
    try other.copy()
    #expect(try disk.readBack() == disk.contents)
    // Who comes when it has left goes on where it was.
    disk.cut()
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, disk.client == nil { try? disk.connect() }
    #expect(try disk.readBack() == disk.contents)
    try serving.end()
  }

  @Test("A client that asks for nothing gives way to the next, and takes nothing along")
  func silent() throws {
    let serving = try Serving(try DiskPlace())
    let disk = serving.place.disks[0]
    let silent = try NBDClient(serving.place.uri, export: "disk0")
    defer { silent.close() }
    try disk.connect()
    #expect(silent.readToEnd())
    try disk.copy()
    #expect(throws: NBDClient.Ended.refused(NBDClient.Code.policy)) {
      try NBDClient(serving.place.uri, export: "disk0")
    }
    #expect(try disk.readBack() == disk.contents)
    try serving.end()
  }

  @Test("Once it is closed, nobody writes")
  func closed() throws {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options())
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    try session.begin()
    try session.play(upTo: 2)
    // A primary whose protection has ended, and whose disks' connections have not noticed.
    let writers = try place.disks.map { try $0.expectClient() }
    session.primary.close()
    nonisolated(unsafe) let writer = writers[0]
    let ended = Monitor(false)
    Thread.detachNewThread {
      // Its thread alone uses it from here on.
      while (try? writer.perform(.write, at: 0, count: 4096, [UInt8](repeating: 0xee, count: 4096)))?
        .error == 0
      {}
      ended.update { $0 = true }
    }
    _ = try standby.outcome()
    let images = place.disks.map(\.atStandby)
    #expect(ended.wait(.seconds(20), for: { $0 ? true : nil }) == true)
    #expect(writers[1].readToEnd())
    #expect(throws: (any Error).self) { try NBDClient(place.uri) }
    #expect(images == place.disks.map(\.atStandby))
    try session.expect(standby.store, holds: 2)
  }

  @Test("A mirror for which there is no thread is told of")
  func unserved() throws {
    let place = try DiskPlace(1)
    let standby = try StandbyProcess(
      place.arguments(), environment: ThreadShortage.ofThread(1, from: "nbd"))
    let turnedAway = try NBDClient(place.uri)
    defer { turnedAway.close() }
    #expect(turnedAway.readToEnd())
    let told = standby.multifd.process.errors.wait(.seconds(20)) {
      $0.text.hasPrefix("multifd: disks: a connection cannot be served (starting the thread")
        ? true : nil
    }
    #expect(told == true, "\(standby.multifd.process.errors.text)")
    let client = try NBDClient(place.uri, export: "disk0")
    defer { client.close() }
    #expect(client.size == 256 << 10)
    standby.multifd.process.kill(SIGTERM)
    #expect(try standby.multifd.wait().code == 128 + SIGTERM)
  }
}
