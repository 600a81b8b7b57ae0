import SessionReplay
import Wire

/// Whole sessions of a guest of a few pages, valid to the last byte.
struct SessionSeeds {
  private static let ram: UInt32 = 2
  private let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 6 * 4096),
    RAMBlockDescription(name: "pc.bios", usedLength: 4096),
  ]
  private let channelCount: Int
  private let colo: Bool
  private var main = StreamEncoder()
  private var session: Session
  private var packetNumber: UInt64 = 0

  /// Plain, by one channel, by two.
  static func all(colo: Bool) -> [(name: String, session: Session)] {
    (0...2).map { count in
      var guest = SessionSeeds(channels: count, colo: colo)
      guest.precopy()
      if colo { for _ in 0..<2 { guest.checkpoint() } }
      return ("\(count)-channels", guest.session)
    }
  }

  private init(channels: Int, colo: Bool) {
    (channelCount, self.colo) = (channels, colo)
    session = Session(channels: channels)
    for channel in 0..<channels {
      session.send(channel + 1, MultiFDInit(uuid: .zero, id: UInt8(channel)).encode())
    }
  }

  private mutating func precopy() {
    main.fileHeader()
    main.configuration(Configuration(machine: "pc-q35-11.1"))
    main.command(.openReturnPath)
    main.command(.ping(1))
    main.beginSection(.start, id: Self.ram, name: "ram", instance: 0, version: 4)
    main.ramBlocks(blocks)
    endEpoch()
    endSection()
    main.beginSection(.part, id: Self.ram, name: "ram", instance: 0, version: 4)
    send(block: 0, normal: [0, 1, 4], zero: [2, 3, 5])
    send(block: 1, normal: [0], zero: [])
    endEpoch()
    endSection()
    main.beginSection(.end, id: Self.ram, name: "ram", instance: 0, version: 4)
    send(block: 0, normal: [4], zero: [])
    endEpoch()
    endSection()
    main.raw(devices)
    main.vmDescription(Array("{}".utf8))
    flush()
  }

  private mutating func checkpoint() {
    main.colo(.checkpointRequest)
    // READY, or what the checkpoint before was answered with; and then the reply.
    flush(waits: true)
    main.colo(.vmstateSend)
    main.beginSection(.end, id: Self.ram, name: "ram", instance: 0, version: 4)
    flush(waits: true)
    send(block: 0, normal: [1], zero: [4])
    endEpoch()
    endSection()
    main.eof()
    main.deviceState(size: UInt64(devices.count))
    main.raw(devices)
    flush()
  }

  private mutating func flush(waits: Bool = false) { session.send(waits: waits, main.take()) }

  private mutating func endEpoch() {
    for channel in 0..<channelCount {
      packet(channel, "", .sync, normal: [], zero: [])
    }
    if channelCount > 0 { main.multifdFlush() }
  }

  private mutating func endSection() {
    main.endOfRAMSection()
    main.footer(id: Self.ram)
  }

  private mutating func send(block: Int, normal: [Int], zero: [Int]) {
    guard channelCount == 0 else {
      return packet(block % channelCount, blocks[block].name, [], normal: normal, zero: zero)
    }
    for page in zero { main.zero(block: block, offset: UInt64(page * 4096)) }
    for page in normal {
      main.pageRecord(block: block, offset: UInt64(page * 4096))
      main.raw(contents(page))
    }
  }

  private func contents(_ page: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(page + 1), count: 4096)
  }

  private mutating func packet(
    _ channel: Int, _ name: String, _ flags: MultiFDFlags, normal: [Int], zero: [Int]
  ) {
    packetNumber += 1
    let header = MultiFDPacketHeader(
      flags: flags, pagesAllocated: flags == .sync ? 0 : 128, normalCount: UInt32(normal.count),
      nextPacketSize: UInt32(normal.count * 4096), packetNumber: packetNumber,
      zeroCount: UInt32(zero.count))
    let offsets = (normal + zero).map { UInt64($0 * 4096) }
    session.send(channel + 1, header.bytes(name, offsets) + normal.flatMap(contents))
  }

  /// The section of a device that does not exist, and the closing 00.
  private var devices: [UInt8] {
    var encoder = StreamEncoder()
    encoder.beginSection(.full, id: 5, name: "timer", instance: 0, version: 2)
    encoder.raw([1, 2, 3, 4])
    encoder.footer(id: 5)
    encoder.eof()
    return encoder.take()
  }
}
