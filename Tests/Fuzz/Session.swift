import TestSupport
import Wire

/// What a source sends over its connections, one piece after the other, as an input has it:
///
///     channels:8, and then pieces: connection:8 length:16 (little-endian) bytes …
///
/// The connection counts modulo how many there are; 0 is the main channel. Where its highest bit is set,
/// something has to be heard on the main channel first, as a primary waits for an answer.
struct Session {
  /// At most.
  static let mostChannels = 3

  struct Piece {
    let connection: Int
    var waits = false
    let bytes: [UInt8]
  }

  let channelCount: Int
  var pieces: [Piece] = []

  init(channels: Int) { channelCount = channels }

  init(_ input: UnsafeRawBufferPointer) {
    channelCount = Int(input.first ?? 0) % (Self.mostChannels + 1)
    var rest = input.dropFirst()
    while rest.count >= 3 {
      let head = Array(rest.prefix(3))
      let length = Int(head[1]) | Int(head[2]) << 8
      pieces.append(
        Piece(
          connection: Int(head[0] & 127) % (channelCount + 1), waits: head[0] & 128 != 0,
          bytes: Array(rest.dropFirst(3).prefix(length))))
      rest = rest.dropFirst(3 + length)
    }
  }

  /// As an input.
  var bytes: [UInt8] {
    var all = [UInt8(channelCount)]
    for piece in pieces {
      var (start, isFirst) = (0, true)
      repeat {
        let part = piece.bytes[start..<min(start + 0xffff, piece.bytes.count)]
        all.append(UInt8(piece.connection) | (piece.waits && isFirst ? 128 : 0))
        all += [UInt8(part.count & 255), UInt8(part.count >> 8)] + part
        (start, isFirst) = (start + part.count, false)
      } while start < piece.bytes.count
    }
    return all
  }

  /// All of a connection.
  private func stream(_ connection: Int) -> [UInt8] {
    pieces.filter { $0.connection == connection }.flatMap(\.bytes)
  }

  var main: [UInt8] { stream(0) }
  var channels: [[UInt8]] { (0..<channelCount).map { stream($0 + 1) } }

  mutating func send(_ connection: Int = 0, waits: Bool = false, _ bytes: [UInt8]) {
    pieces.append(Piece(connection: connection, waits: waits, bytes: bytes))
  }
}
