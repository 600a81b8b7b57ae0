/// A frame from the destination to the source on the main socket (SPECIFICATION section 6.1).
public enum ReturnPathMessage: Equatable, Sendable {
  /// The load has ended: 0 is success, anything else a failure.
  case shut(UInt32)
  /// The answer to a PING.
  case pong(UInt32)
  /// Postcopy asks for pages; `block` is nil when it is the same as before.
  case requestPages(start: UInt64, length: UInt32, block: String?)
  /// Postcopy recovery goes on.
  case resumeAck(UInt32)
  /// The destination agrees to the switchover.
  case switchoverAck

  /// What `decode` made of the bytes.
  public enum Step: Equatable, Sendable {
    /// Nothing yet: at least so many bytes beyond those given are needed.
    case needMore(atLeast: Int)
    /// A message of `consumed` bytes.
    case message(ReturnPathMessage, consumed: Int)
  }

  /// The type that is on the wire.
  var type: UInt16 {
    switch self {
    case .shut: 1
    case .pong: 2
    case .requestPages(_, _, .some): 3
    case .requestPages(_, _, .none): 4
    case .resumeAck: 6
    case .switchoverAck: 7
    }
  }

  /// Decodes the frame that `bytes` begin with, at byte `offset` of the return path.
  ///
  /// A type or length is refused as soon as its two bytes are here, so a frame is at most 272 bytes
  /// long.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, at offset: UInt64
  ) throws(WireError) -> Step {
    var cursor = Cursor(bytes)
    guard let type = cursor.u16() else { return .needMore(atLeast: 4 - bytes.count) }
    let lengths: ClosedRange<UInt16>
    switch type {
    case 1, 2, 6: lengths = 4...4
    case 3: lengths = 14...268
    case 4: lengths = 12...12
    case 7: lengths = 0...0
    case 5:
      throw WireError(
        .unsupported, at: offset,
        "return path message RECV_BITMAP: turn off the capability postcopy-ram at the destination")
    default:
      throw WireError(.unknownElement, at: offset, "unknown return path message \(type)")
    }
    guard let length = cursor.u16() else { return .needMore(atLeast: cursor.missing) }
    guard lengths.contains(length) else {
      throw WireError(
        .badLength, at: offset + 2,
        "return path message \(type) has \(lengths.lowerBound) to \(lengths.upperBound) bytes, found \(length)"
      )
    }
    guard let payload = cursor.bytes(Int(length)) else { return .needMore(atLeast: cursor.missing) }
    return .message(try message(type, payload, at: offset + 4), consumed: cursor.offset)
  }

  /// `payload` has a length that was found right for `type`.
  private static func message(
    _ type: UInt16, _ payload: UnsafeRawBufferPointer, at offset: UInt64
  ) throws(WireError) -> ReturnPathMessage {
    switch type {
    case 1: return .shut(payload.u32(0))
    case 2: return .pong(payload.u32(0))
    case 4: return .requestPages(start: payload.u64(0), length: payload.u32(8), block: nil)
    case 6: return .resumeAck(payload.u32(0))
    case 7: return .switchoverAck
    default:
      var cursor = Cursor(payload, from: 12)
      guard let name = try cursor.name(of: "a RAM block", at: offset),
        cursor.offset == payload.count
      else {
        throw WireError(.badLength, at: offset + 12, "the block's name does not fill the message")
      }
      return .requestPages(start: payload.u64(0), length: payload.u32(8), block: name.text)
    }
  }

  /// The whole frame.
  public func encode() -> [UInt8] {
    var payload: [UInt8] = []
    switch self {
    case .shut(let value), .pong(let value), .resumeAck(let value):
      payload.append(bigEndian: value)
    case .requestPages(let start, let length, let block):
      payload.append(bigEndian: start)
      payload.append(bigEndian: length)
      if let block { payload.append(counted: block.utf8) }
    case .switchoverAck: break
    }
    var bytes: [UInt8] = []
    bytes.append(bigEndian: type)
    bytes.append(bigEndian: UInt16(payload.count))
    return bytes + payload
  }
}
