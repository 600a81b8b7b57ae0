import Transport
import Wire

/// What a destination says on the return path, message by message. One for each connection: it may have read further
/// than the message that it gives.
struct ReturnPathReader: ~Copyable {
  private var input: InputBuffer
  private var offset: UInt64 = 0

  init(_ socket: Socket) { input = InputBuffer(socket, capacity: 4096) }

  /// The next message; nil when the destination has closed the connection.
  mutating func next() throws -> ReturnPathMessage? {
    while true {
      switch try ReturnPathMessage.decode(input.bytes, at: offset) {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else { return nil }
      case .message(let message, let consumed):
        input.consume(consumed)
        offset += UInt64(consumed)
        return message
      }
    }
  }

  /// Waits for the verdict of a destination that has all it needs.
  ///
  /// - Throws: when it is not 0, or does not come.
  mutating func awaitVerdict() throws {
    while let message = try next() {
      guard case .shut(let value) = message else { continue }
      guard value == 0 else {
        var refusal = Failure(
          .failed, "destination", "it could not load the guest",
          hint: "its stderr says why; the guest is safe in its store")
        refusal.cause = .refusedByDestination
        throw refusal
      }
      return
    }
    throw TransportError(.closed, "the destination closed the connection without a verdict")
  }
}
