import Foundation
import Transport
import Wire

/// What a destination says on the return path, message by message. One for each connection: it may
/// have read further than the message that it gives.
public struct ReturnPathReader: ~Copyable {
  private let socket: Socket
  private var input: InputBuffer
  private var offset: UInt64 = 0

  /// For a connection from its first answer on.
  public init(_ socket: Socket) {
    self.socket = socket
    input = InputBuffer(socket, capacity: 4096)
  }

  /// The next message; nil when the destination has closed the connection.
  public mutating func next() throws -> ReturnPathMessage? {
    while true {
      switch try decode() {
      case .needMore(let missing):
        guard try input.require(input.bytes.count + missing, idle: false) else { return nil }
      case .message(let message, let consumed):
        take(consumed)
        return message
      }
    }
  }

  private func decode() throws -> ReturnPathMessage.Step {
    do { return try ReturnPathMessage.decode(input.bytes, at: offset) } catch {
      guard offset == 0, error.code != .unsupported else { throw error }
      // An alert of TLS.
      if input.bytes.starts(with: [0x15, 3]) {
        throw Failure(
          .refused, "destination", "\(socket.peer) speaks TLS, and this side does not",
          hint: "give --tls-creds, or turn off tls-creds at the destination")
      }
      let first = input.bytes.prefix(12).map { String(format: "%02x", $0) }.joined(separator: " ")
      throw Failure(
        .corrupt, "destination",
        "\(socket.peer) is no QEMU with -incoming: its first bytes are \(first)",
        hint: "a return path begins with 00 01, 00 02 or 00 07")
    }
  }

  /// Waits until a destination has taken all that was sent before PING `value`.
  ///
  /// - Throws: when it ends the load instead, or is silent for longer than its socket allows.
  public mutating func awaitPong(_ value: UInt32) throws {
    while let message = try next() {
      if message == .pong(value) { return }
      if case .shut(let value) = message { throw Self.refusal(value) }
    }
    throw TransportError(.closed, "\(socket.peer) closed the connection")
  }

  /// Whether PONG `value` comes within so many seconds.
  ///
  /// - Throws: when the destination ends the load instead.
  public mutating func hearsPong(_ value: UInt32, within seconds: Double) throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      switch try decode() {
      case .needMore(let missing):
        // Half a message is waited for no longer than a whole one.
        switch try input.require(input.bytes.count + missing, until: deadline) {
        case true?: break
        case false?: throw TransportError(.closed, "\(socket.peer) closed the connection")
        case nil: return false
        }
      case .message(let message, let consumed):
        take(consumed)
        if message == .pong(value) { return true }
        if case .shut(let value) = message { throw Self.refusal(value) }
      }
    }
  }

  private mutating func take(_ count: Int) {
    input.consume(count)
    offset += UInt64(count)
  }

  /// Looks for so long whether the destination ends the load, or the connection.
  ///
  /// - Throws: when it does.
  public mutating func expectOpen(seconds: Double) throws { _ = try hearsPong(0, within: seconds) }

  /// Waits for the verdict of a destination that has all it needs.
  ///
  /// - Throws: when it is not 0, or does not come.
  public mutating func awaitVerdict() throws {
    while let message = try next() {
      guard case .shut(let value) = message else { continue }
      guard value == 0 else { throw Self.refusal(value) }
      return
    }
    throw TransportError(.closed, "\(socket.peer) closed the connection without a verdict")
  }

  /// SHUT before it could have the guest, or with a value that is not 0.
  private static func refusal(_ value: UInt32) -> Failure {
    var refusal = Failure(
      .failed, "destination", "it could not load the guest (SHUT \(value))",
      hint: "its stderr says why; the guest is safe in its store")
    refusal.cause = .refusedByDestination
    return refusal
  }
}
