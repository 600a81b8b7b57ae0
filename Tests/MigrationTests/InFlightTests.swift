import Glibc
import Migration
import PluginLoader
import SessionReplay
import System
import TestSupport
import Testing
import Transport
import Wire

/// A channel whose backend has several packets at a time: the example of that.
@Suite("Packets in flight")
struct InFlightTests {
  private static let pageSize = 4096
  /// More than can be in flight.
  private static let count = 20

  private let plugins: ExamplePlugins
  private let backend: Backend
  private let formats: LinkFormats
  private let loader: PluginLoader

  init() throws {
    plugins = try ExamplePlugins(["pool"])
    if let reason = plugins.missing["pool"] { try Test.cancel("SKIPPED: \(reason)") }
    loader = TestBackends.loader(with: plugins.folder)
    backend = try loader.load(named: "pool")
    let format = try #require(LinkFormat(backend.wireFormat, bound: 1 << 20))
    formats = try #require(LinkFormats([format]))
  }

  /// The pages of a packet: some text, and the packet's number all over.
  private static func pages(_ number: Int, _ count: Int) -> [UInt8] {
    (0..<count * pageSize).map { UInt8(truncatingIfNeeded: $0 % 251 ^ ($0 / pageSize + number)) }
  }

  /// How many pages the packet has.
  private static func size(_ number: Int) -> Int { 1 + number * 7 % 20 }

  /// What a channel of `count` packets becomes, whose last one is a SYNC.
  private func encoded() throws -> [UInt8] {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let out = try Socket.connect(to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 10)
    let far = Sockets.accept(listener)
    defer { close(far) }
    let heard = System.Monitor<[UInt8]>([])
    let threads = ThreadGroup()
    try threads.start("far side") {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = Sockets.read(far, &bytes), count > 0 {
        heard.update { $0 += bytes[..<count] }
      }
    }
    defer { threads.joinAll() }
    defer { out.cut() }
    let options = try backend.parse([])
    let owner = PagesOwner()
    let encoders = PacketEncoders(
      [
        OutgoingFormat(
          method: formats.method(of: 1), backend: backend, options: options, loader: loader)
      ], id: 0,
      channels: { 1 }, pageSize: Self.pageSize,
      verification: PacketEncoders.Verification(pagesOf: owner) {
        Issue.record("a payload does not decode: \($0)")
      })
    let writer = PacketWriter(out, pageSize: Self.pageSize)
    let numbers = PacketWriter.Numbers()
    try writer.begin(MultiFDInit(uuid: .zero, id: 0))
    var most = 0
    for number in 0..<Self.count {
      let box = encoders.pool.take()
      box.packet.begin(block: 0, named: "pc.ram", host: nil)
      let pages = Self.pages(number, Self.size(number))
      for index in 0..<Self.size(number) {
        box.packet.append(normal: UInt64((number * 32 + index) * Self.pageSize))
        box.packet.roomForPlaces[index] = UInt64(index * Self.pageSize)
      }
      box.pages.fill(with: pages)
      box.packet.lies(elsewhere: box.pages.base)
      box.packet.close(number: numbers.next())
      try encoders.submit(box, to: writer)
      most = max(most, encoders.inFlight)
    }
    // It does run ahead, by as many as the backend says but the one that goes out.
    #expect(most == 7)
    let last = encoders.pool.take()
    try encoders.sync(number: numbers.next(), in: &last.packet, to: writer)
    #expect(encoders.inFlight == 0)
    out.finishWriting()
    threads.joinAll()
    return heard.read { $0 }
  }

  /// Decodes a channel, as a reception does; with what comes of each packet's pages.
  private func decode(
    _ bytes: [UInt8], whole isWhole: inout [Bool]
  ) throws -> (most: Int, place: String?, why: String?) {
    try bytes.withUnsafeBytes { bytes in
      let reader = PacketReader(
        .recording(bytes), pageSize: Self.pageSize, dialect: .link(formats),
        backends: One(backend: backend, options: try backend.parse([])))
      defer { reader.close() }
      _ = try reader.begin()
      let pool = PacketPool(pageSize: Self.pageSize)
      var most = 0, done = 0
      func complete() throws {
        let box = try reader.complete()
        isWhole.append(box.pages.begins(with: Self.pages(done, Self.size(done))))
        done += 1
        pool.put(box)
      }
      do {
        while true {
          let box = pool.take()
          guard try reader.next(&box.packet) else { break }
          guard box.packet.hasPages else {
            while reader.inFlight > 0 { try complete() }
            continue
          }
          try reader.submit(box, into: box.pages)
          most = max(most, reader.inFlight)
          while reader.isFull { try complete() }
        }
      } catch {
        return (most, reader.place, "\(error)")
      }
      return (most, nil, nil)
    }
  }

  private struct One: PacketBackends {
    let backend: Backend
    let options: OptionValues
    func backend(for method: MultiFDMethod) -> (Backend, OptionValues) { (backend, options) }
  }

  /// Where each packet begins, and the bytes of its payload.
  private func packets(of bytes: [UInt8]) throws -> [(start: Int, payload: Range<Int>)] {
    try bytes.withUnsafeBytes { memory in
      let reader = PacketReader(
        .recording(memory), pageSize: Self.pageSize, dialect: .link(formats))
      _ = try reader.begin()
      var packet = Packet(pageSize: Self.pageSize)
      var found: [(start: Int, payload: Range<Int>)] = []
      while case let start = Int(reader.position), try reader.next(&packet) {
        let from = Int(reader.position)
        #expect(try reader.skip())
        found.append((start, from..<Int(reader.position)))
      }
      return found
    }
  }

  @Test("Packets go out in the order in which they came, and come in whole")
  func order() throws {
    let bytes = try encoded()
    #expect(try packets(of: bytes).count == Self.count + 1)
    var whole: [Bool] = []
    let decoded = try decode(bytes, whole: &whole)
    #expect(decoded.why == nil)
    #expect(decoded.most == 8 && whole == Array(repeating: true, count: Self.count))
  }

  @Test("What is wrong with one of them is told of that one", arguments: [0, 1, 11, 19])
  func failure(bad: Int) throws {
    var bytes = try encoded()
    let packet = try packets(of: bytes)[bad]
    // No frame begins so.
    bytes[packet.payload.lowerBound] ^= 0x5a
    var whole: [Bool] = []
    let decoded = try decode(bytes, whole: &whole)
    // The first one's number is 1.
    #expect(decoded.place == "channel 0, packet \(bad + 1), byte \(packet.start)")
    let why = try #require(decoded.why)
    #expect(why.contains("packet_num \(bad + 1)") && why.contains("zstd frame"), "\(why)")
    #expect(whole == Array(repeating: true, count: bad))
  }

  @Test("A channel that breaks off anywhere is told so, with packets in flight")
  func truncated() throws {
    let bytes = try encoded()
    let ends = try packets(of: bytes).flatMap { [$0.start + 9, $0.payload.lowerBound + 1] }
    for end in ends where end < bytes.count {
      var whole: [Bool] = []
      let decoded = try decode(Array(bytes[..<end]), whole: &whole)
      #expect(decoded.why != nil && whole.allSatisfy(\.self), "\(end) of \(bytes.count)")
    }
  }

  @Test("Of two packets with the same page the later one counts")
  func samePage() throws {
    // Each packet names the pages of the first one.
    var bytes = try encoded()
    let found = try packets(of: bytes).prefix(Self.count)
    for packet in found.dropFirst() {
      // Behind 64 bytes of header and 256 of name: offsets, 8 bytes each.
      for index in 0..<128 {
        let at = packet.start + 320 + 8 * index
        var value = UInt64(index * Self.pageSize).bigEndian
        withUnsafeBytes(of: &value) { bytes.replaceSubrange(at..<at + 8, with: $0) }
      }
    }
    let block = OneBlock(bytes: 32 * Self.pageSize)
    try bytes.withUnsafeBytes { bytes in
      let reader = PacketReader(
        .recording(bytes), pageSize: Self.pageSize, dialect: .link(formats),
        backends: One(backend: backend, options: try backend.parse([])))
      defer { reader.close() }
      _ = try reader.begin()
      let pool = PacketPool(pageSize: Self.pageSize)
      for number in 0..<Self.count {
        let box = pool.take()
        #expect(try reader.next(&box.packet))
        try reader.submit(box, into: block)
        while reader.isFull { pool.put(try reader.complete()) }
        if number == Self.count - 1 { while reader.inFlight > 0 { _ = try reader.complete() } }
      }
    }
    for page in 0..<20 {
      // The last packet that has it.
      let last = try #require((0..<Self.count).last { Self.size($0) > page })
      let wanted = Self.pages(last, page + 1).suffix(Self.pageSize)
      #expect(
        block.memory[(page * Self.pageSize)..<((page + 1) * Self.pageSize)].elementsEqual(wanted))
    }
  }

  /// A block of memory that packets' pages go to.
  private final class OneBlock: PageDestination {
    let memory: UnsafeMutableRawBufferPointer

    init(bytes: Int) {
      memory = .allocate(byteCount: bytes, alignment: 4096)
      memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { memory.deallocate() }

    func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)? {
      (0, UInt64(memory.count))
    }

    func prepare(_ packet: inout Packet) { packet.lies(inBlock: memory.baseAddress) }
    func process(_ packet: borrowing Packet) {}
  }
}

extension ScratchPages {
  /// Where the pages lie; a packet's find room there.
  var base: UnsafeMutableRawPointer { room.baseAddress! }

  /// Puts them there.
  fileprivate func fill(with bytes: [UInt8]) { room.copyBytes(from: bytes) }

  /// Whether they begin with these.
  fileprivate func begins(with bytes: [UInt8]) -> Bool {
    room.prefix(bytes.count).elementsEqual(bytes)
  }
}
