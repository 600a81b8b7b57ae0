import PluginAPI
import PluginLoader

/// Pages through PluginLoader, as the real host does it: search path, owner and mode, probe, table,
/// channels, as many packets in flight as the backend has.
enum HostAccepts {
  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    let (sending, receiving) = (try library.side(.send), try library.side(.receive))
    do {
      let send = try sending.asTheHostHasIt(), receive = try receiving.asTheHostHasIt()
      let options = try send.parse(pairs(context.options(of: sending)))
      let theirs = try receive.parse(pairs(context.options(of: receiving)))
      let (size, count) = (library.pageSize, 16)
      let wire = WireBuffer()
      let sender = try send.makeSender(
        id: 0, channels: 1, pageSize: size, pageCount: count, options: options)
      let receiver = try receive.makeReceiver(
        id: 0, channels: 1, pageSize: size, pageCount: count, options: theirs, source: wire)
      let empty = UnsafeBufferPointer<UInt64>(start: nil, count: 0)
      var random = context.random()
      // Each has a block of its own: no two packets in flight have a page in common.
      let packets = (0..<3 * max(sender.depth, receiver.depth)).map { number in
        let source = Block(pageSize: size, pages: count, kind: .source)
        source.fill(&random, Lane.mix)
        source.allow(.reading)
        return HostPacket(
          source: source, target: Block(pageSize: size, pages: count, kind: .target),
          normal: Array(source.offsets.prefix(count / (1 + number % 3))))
      }
      // Also where something fails: what is in flight is let go of before its packets are.
      defer {
        sender.close()
        receiver.close()
        withExtendedLifetime(packets) {}
      }
      var payloads: [[UInt8]] = []
      func encoded() throws {
        payloads.append(
          try sender.complete().iov.flatMap {
            Array(UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len))
          })
      }
      for (number, packet) in packets.enumerated() {
        try sender.submit(
          host: packet.source.base, normal: UnsafeBufferPointer(packet.normal), zero: empty,
          flags: 0, packetNumber: UInt64(number + 1))
        if sender.isFull { try encoded() }
      }
      while payloads.count < packets.count { try encoded() }
      var arrived = 0
      for (number, packet) in packets.enumerated() {
        wire.bytes = payloads[number]
        try receiver.submit(
          host: packet.target.base, normal: UnsafeBufferPointer(packet.normal), zero: empty,
          payloadSize: payloads[number].count, flags: 0, packetNumber: UInt64(number + 1))
        if receiver.isFull {
          try receiver.complete()
          arrived += 1
        }
      }
      for _ in arrived..<packets.count { try receiver.complete() }
      for (number, packet) in packets.enumerated() {
        for offset in packet.normal where !packet.source.equals(packet.target, at: offset) {
          context.fail(
            "the page at \(offset) of packet \(number + 1) has not come through the host")
        }
      }
    } catch {
      context.fail("\(error)")
    }
  }

  /// One packet: blocks, and the list of its pages in memory that stays.
  private final class HostPacket {
    let source: Block
    let target: Block
    /// Freed with this object, which outlives the channels.
    let normal: UnsafeMutableBufferPointer<UInt64>

    init(source: Block, target: Block, normal: [UInt64]) {
      (self.source, self.target) = (source, target)
      self.normal = .allocate(capacity: normal.count)
      _ = self.normal.initialize(from: normal)
    }

    deinit { normal.deallocate() }
  }

  private static func pairs(_ options: [String: String]) -> [(key: String, value: String)] {
    options.map { (key: $0.key, value: $0.value) }
  }

  /// A connection in memory.
  private final class WireBuffer: PayloadSource {
    var bytes: [UInt8] = []

    struct AtEnd: Error {}

    func read(into buffer: UnsafeMutableRawBufferPointer) throws {
      guard buffer.count <= bytes.count else { throw AtEnd() }
      buffer.copyBytes(from: bytes.prefix(buffer.count))
      bytes.removeFirst(buffer.count)
    }

    func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
      for piece in pieces {
        try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
      }
    }
  }
}

extension Library {
  /// The same file through the host's own loader.
  func asTheHostHasIt() throws -> Backend {
    guard let path = realPath(path), let slash = path.lastIndex(of: "/") else {
      throw HarnessFault("the file is gone")
    }
    let folders = PluginSearchPath(
      explicit: [slash == path.startIndex ? "/" : String(path[..<slash])], environment: [:],
      executable: "")
    return try PluginLoader(searchPath: folders).load(named: name)
  }
}
