import Foundation

/// The other end of the guest's stream: as much of TCP as takes it all, in order, and tells its
/// kernel so. It sends nothing but acknowledgements, and nothing again: its wire loses nothing.
struct StreamSink {
  /// What of a segment counts here.
  struct Segment {
    /// The guest's port.
    let port: UInt16
    let sequence: UInt32
    let isStart: Bool
    let isEnd: Bool
    /// Bytes of data.
    let length: Int

    /// Of an IPv4 packet; nil where it is for another port, or is no whole one.
    init?(_ packet: Data) {
      let packet = Data(packet)
      let head = Int(packet[0] & 15) * 4
      guard packet.count >= head + 20 else { return nil }
      func number(_ place: Int, _ size: Int) -> UInt32 {
        packet[place..<place + size].reduce(0) { $0 << 8 | UInt32($1) }
      }
      guard number(head + 2, 2) == StreamSink.port else { return nil }
      port = UInt16(number(head, 2))
      sequence = number(head + 4, 4)
      isStart = packet[head + 13] & 2 != 0
      isEnd = packet[head + 13] & 1 != 0
      // Short frames are padded: the packet says itself how long it is.
      length = Int(number(2, 2)) - head - Int(packet[head + 12] >> 4) * 4
      guard length >= 0 else { return nil }
    }
  }

  /// Where the guest sends it.
  static let port: UInt16 = 7002
  /// Our first number.
  private static let first: UInt32 = 1

  /// Bytes of the last stream that have come.
  private(set) var bytes = 0
  /// When its first and its last data came.
  private(set) var times: ClosedRange<ContinuousClock.Instant>?
  /// It has been closed.
  private(set) var hasEnded = false

  private var peer: UInt16 = 0
  private var next: UInt32 = 0
  private var owesAnswer = false
  private var isStarting = false

  /// Takes a segment.
  mutating func take(_ segment: Segment, at now: ContinuousClock.Instant) {
    owesAnswer = true
    if segment.isStart {
      self = StreamSink()
      (peer, next, owesAnswer, isStarting) = (segment.port, segment.sequence &+ 1, true, true)
      return
    }
    guard segment.port == peer, segment.sequence == next else { return }
    // A bare acknowledgement is not acknowledged.
    owesAnswer = segment.length > 0 || segment.isEnd
    isStarting = false
    next = next &+ UInt32(segment.length)
    if segment.length > 0 {
      bytes += segment.length
      times = (times?.lowerBound ?? now)...now
    }
    if segment.isEnd {
      next = next &+ 1
      hasEnded = true
    }
  }

  /// What is to be sent now, as it goes over the wire.
  mutating func answer() -> [UInt8]? {
    guard owesAnswer else { return nil }
    owesAnswer = false
    func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian, Array.init) }
    func bytes(_ number: UInt16) -> [UInt8] { withUnsafeBytes(of: number.bigEndian, Array.init) }
    // SYN and ACK; FIN and ACK; ACK.
    let flags: UInt8 = isStarting ? 0x12 : hasEnded ? 0x11 : 0x10
    // 0x5b4 = 1460 bytes a segment, and a window in units of 128 bytes: 8 MiB.
    let options: [UInt8] = isStarting ? [2, 4, 0x5, 0xb4, 1, 3, 3, 7] : []
    var segment = bytes(Self.port) + bytes(peer)
    segment += bytes(isStarting ? Self.first : Self.first + 1) + bytes(next)
    segment += [UInt8(5 + options.count / 4) << 4, flags] + bytes(.max as UInt16) + [0, 0, 0, 0]
    segment += options
    return Frame.toGuest(segment: segment)
  }
}
