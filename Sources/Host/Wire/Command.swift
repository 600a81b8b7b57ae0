/// A command on the main channel (SPECIFICATION section 1.4): those that this program understands.
///
/// The postcopy commands are refused when decoded.
public enum Command: Equatable, Sendable {
  /// The source listens on the return path.
  case openReturnPath
  /// To be answered with PONG and the same value.
  case ping(UInt32)
  /// A COLO source up to 10.2 says that checkpoints will follow.
  case enableCOLO
  /// The VM has stopped (10.0 and later, machine types from 10.0).
  case switchoverStart

  /// What a command's number and payload length must be.
  private static func name(of number: UInt16) -> String? {
    switch number {
    case 3: "POSTCOPY_ADVISE"
    case 4: "POSTCOPY_LISTEN"
    case 5: "POSTCOPY_RUN"
    case 6: "POSTCOPY_RAM_DISCARD"
    case 7: "PACKAGED"
    case 9: "POSTCOPY_RESUME"
    case 10: "RECV_BITMAP"
    default: nil
    }
  }

  /// Decodes an element that begins with the type byte 08 at stream offset `position`.
  ///
  /// - Returns: the command and the element's size, or how many bytes are missing.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, at position: UInt64
  ) throws(WireError) -> Partial<Command> {
    var cursor = Cursor(bytes, from: 1)
    guard let number = cursor.u16() else { return .missing(cursor.missing) }
    let expected: UInt16
    switch number {
    case 1, 8, 11: expected = 0
    case 2: expected = 4
    default:
      guard let name = name(of: number) else {
        throw WireError(.unknownElement, at: position + 1, "unknown command \(number)")
      }
      throw WireError(
        .unsupported, at: position + 1,
        "command \(number) (\(name)): turn off the capability postcopy-ram and dirty-bitmaps at the source"
      )
    }
    guard let length = cursor.u16() else { return .missing(cursor.missing) }
    guard length == expected else {
      throw WireError(
        .badLength, at: position + 3, "command \(number) has \(expected) bytes, found \(length)")
    }
    switch number {
    case 1: return .whole(.openReturnPath, size: cursor.offset)
    case 8: return .whole(.enableCOLO, size: cursor.offset)
    case 11: return .whole(.switchoverStart, size: cursor.offset)
    default:
      guard let value = cursor.u32() else { return .missing(cursor.missing) }
      return .whole(.ping(value), size: cursor.offset)
    }
  }

  /// The whole element, type byte included.
  public func encode() -> [UInt8] {
    var bytes: [UInt8] = [8]
    switch self {
    case .openReturnPath: bytes += [0, 1, 0, 0]
    case .ping(let value):
      bytes += [0, 2, 0, 4]
      bytes.append(bigEndian: value)
    case .enableCOLO: bytes += [0, 8, 0, 0]
    case .switchoverStart: bytes += [0, 11, 0, 0]
    }
    return bytes
  }
}

/// What came of decoding an element from the bytes that have arrived.
enum Partial<Value> {
  /// All of it, and how many bytes it has.
  case whole(Value, size: Int)
  /// At least so many more bytes are needed.
  case missing(Int)
}
