import Foundation

/// An Ethernet frame of the guest with a network, or to it: what Tests/Guest/disks.c sends and what
/// it answers.
struct Frame {
  /// What it is to the lab.
  enum Content {
    /// A numbered packet.
    case numbered(PacketWitness.Kind, number: Int, nonce: UInt64)
    /// An answer of the echo, to one of our questions.
    case answer(question: UInt64, number: Int)
    /// A part of its stream: TCP, to 192.0.2.1 port 7002.
    case segment(StreamSink.Segment)
    /// What a kernel says of its own accord.
    case other
  }

  let content: Content

  /// Of these bytes.
  init(_ bytes: Data) { content = Self.read(bytes) }

  private static let head = 14

  private static func read(_ bytes: Data) -> Content {
    guard bytes.count >= head + 20 else { return .other }
    switch UInt16(bytes[12]) << 8 | UInt16(bytes[13]) {
    case 0x0806: return numbered(bytes.dropFirst(head + 28), .arp)
    case 0x86dd where bytes[head + 6] == udp: return numbered(bytes.dropFirst(head + 48), .ipv6)
    case 0x0800 where bytes[head + 9] == tcp:
      return StreamSink.Segment(bytes.dropFirst(head)).map(Content.segment) ?? .other
    case 0x0800 where bytes[head + 9] == udp:
      let datagram = bytes.dropFirst(head + Int(bytes[head] & 15) * 4)
      guard datagram.count >= 8 else { return .other }
      let source = datagram.prefix(2).reduce(0) { $0 << 8 | Int($1) }
      let data = Data(datagram.dropFirst(8))
      guard source == echo, data.count >= 16 else { return numbered(data, .ipv4) }
      return .answer(question: data.word(0), number: Int(data.word(1)))
    default: return .other
    }
  }

  private static func numbered(_ bytes: Data, _ kind: PacketWitness.Kind) -> Content {
    guard bytes.count >= 40, bytes.starts(with: Data("MFDPKT1\0".utf8)) else { return .other }
    let packet = Data(bytes)
    guard packet.word(1) == kind.rawValue else { return .other }
    return .numbered(kind, number: Int(packet.word(2)), nonce: packet.word(3))
  }

  private static let udp: UInt8 = 17
  private static let tcp: UInt8 = 6
  private static let echo = 7

  /// A question to the guest's echo, from 192.0.2.1 port 7001, behind its length as it goes over
  /// the wire.
  static func question(_ number: UInt64) -> [UInt8] {
    let data = withUnsafeBytes(of: number.littleEndian, Array.init)
    // No checksum: in IPv4 that may be left out.
    let datagram: [UInt8] = [0x1b, 0x59, 0, UInt8(echo), 0, UInt8(8 + data.count), 0, 0] + data
    return toGuest(udp, datagram)
  }

  /// An IPv4 packet from 192.0.2.1 to the guest, as it goes over the wire.
  static func toGuest(_ number: UInt8, _ data: [UInt8]) -> [UInt8] {
    var packet: [UInt8] = [0x45, 0, 0, UInt8(20 + data.count), 0, 0, 0, 0, 64, number, 0, 0]
    packet += addresses
    let sum = checksum(packet)
    packet[10] = UInt8(sum >> 8)
    packet[11] = UInt8(sum & 0xff)
    let frame: [UInt8] = [0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0] + packet + data
    return withUnsafeBytes(of: UInt32(frame.count).bigEndian, Array.init) + frame
  }

  /// A segment of TCP with its checksum, at 16, over the wire.
  static func toGuest(segment: [UInt8]) -> [UInt8] {
    var segment = segment
    let sum = checksum(addresses + [0, tcp, 0, UInt8(segment.count)] + segment)
    segment[16] = UInt8(sum >> 8)
    segment[17] = UInt8(sum & 0xff)
    return toGuest(tcp, segment)
  }

  private static let addresses: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2]

  /// Of an even number of bytes.
  private static func checksum(_ header: [UInt8]) -> UInt16 {
    var sum = stride(from: 0, to: header.count, by: 2).reduce(UInt32(0)) {
      $0 + UInt32(header[$1]) << 8 + UInt32(header[$1 + 1])
    }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return ~UInt16(sum)
  }
}
