import Transport
import Wire

/// What a destination says on the return path once it has all it needs.
enum Verdict {
  /// Waits for SHUT.
  ///
  /// - Throws: when it is not 0, or does not come.
  static func await(on socket: Socket) throws {
    var input = InputBuffer(socket, capacity: 4096)
    var offset: UInt64 = 0
    while true {
      switch try ReturnPathMessage.decode(input.bytes, at: offset) {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else {
          throw TransportError(.closed, "the destination closed the connection without a verdict")
        }
      case .message(let message, let consumed):
        input.consume(consumed)
        offset += UInt64(consumed)
        guard case .shut(let value) = message else { continue }
        guard value == 0 else {
          throw Failure(
            .failed, "destination", "it could not load the guest",
            hint: "its stderr says why; the guest is safe in its store")
        }
        return
      }
    }
  }
}
