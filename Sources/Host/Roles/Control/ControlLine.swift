import Migration
import Synchronization
import Transport
import Wire

/// One end of the connection between a standby and `multifd protect`. Reading belongs to one
/// thread; anybody may send.
final class ControlLine: Sendable {
  /// Seconds between signs of life, in both directions.
  static let beat = 0.5
  /// Seconds that a line may wait for room: a guest may be standing still meanwhile. There is room
  /// for what comes in minutes, so whoever has left none does not read.
  private static let patience = 0.5
  /// The longest line: more is nobody's message.
  private static let longest = 1 << 16

  private let socket: Socket
  private let writing = Mutex(())

  /// Over a connection on which the hello has been said.
  init(_ socket: Socket) {
    socket.limitWriting(seconds: Self.patience)
    // Whatever ends it, the other side is gone: there is nothing whose end could be cut off.
    socket.acceptAbruptEnd()
    self.socket = socket
  }

  /// Says hello, as whoever connects does, and only looks.
  convenience init(lookingAt socket: Socket) throws(TransportError) {
    self.init(socket)
    var message = ControlMessage()
    message.version = 1
    message.look = true
    try socket.write(ControlHello.encode(message.line))
  }

  /// Sends a message whole, or throws: then the connection is of no use any more.
  func send(_ message: ControlMessage) throws(TransportError) {
    let line = message.line
    let result = writing.withLock { _ in
      Result { () throws(TransportError) in try socket.write(line) }
    }
    try result.get()
  }

  /// Hands over messages as they come, until the other side closes.
  ///
  /// - Parameter body: gets each; false ends it.
  /// - Throws: when the other side is silent for longer than the connection's time limit, or says
  ///   what is no message.
  func receive(_ body: (ControlMessage) throws -> Bool) throws {
    var input = InputBuffer(socket, capacity: 1 << 12)
    while true {
      switch try input.line(atMost: Self.longest) {
      case .line(let line):
        guard let message = ControlMessage(line) else {
          throw Failure(.corrupt, "control", "\(socket.peer) says what is no message")
        }
        guard try body(message) else { return }
      case .tooLong: throw Failure(.corrupt, "control", "\(socket.peer) says no end of a line")
      case .end(inside: true):
        throw Failure(.corrupt, "control", "\(socket.peer) closed inside a line")
      case .end: return
      }
    }
  }

  /// Ends it, from any thread.
  func cut() { socket.cut() }
}
