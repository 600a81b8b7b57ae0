import Glibc
import Migration
import System
import Transport

/// The monitor of a QEMU that was started here, for one thread: a command at a time, and what
/// happens told between commands.
final class QMPConnection {
  private struct State {
    /// Not told yet, the oldest first.
    var events: [QMPEvent] = []
    var hasEnded = false
  }

  private let socket: QMPSocket
  private let state: Monitor<State>
  private let timeout: Double
  private let onEvent: (QMPEvent) -> Void
  /// The version that QEMU greets with, e.g. `(11, 1, 3)`.
  let version: (major: Int, minor: Int, micro: Int)

  /// Connects to a QEMU that was just started, and negotiates.
  init(
    path: String, timeout: Double, alive: () -> Bool, onEvent: @escaping (QMPEvent) -> Void
  ) throws(Failure) {
    let state = Monitor(State())
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      do {
        socket = try QMPSocket(
          .unix(path: path), within: timeout,
          onEvent: { event in state.update { $0.events.append(event) } },
          onEnd: { _ in state.update { $0.hasEnded = true } })
        break
      } catch {
        guard alive() else { throw Failure(.failed, "qemu", "it ended at once") }
        guard ContinuousClock.now < deadline else { throw error }
        usleep(2000)
      }
    }
    let said = socket.greeting["version"]["qemu"]
    version = (said["major"].int ?? 0, said["minor"].int ?? 0, said["micro"].int ?? 0)
    (self.state, self.timeout, self.onEvent) = (state, timeout, onEvent)
  }

  /// Runs a command and waits for its answer.
  @discardableResult
  func execute(_ command: String, _ arguments: QMPValue = .null) throws(Failure) -> QMPValue {
    try ask { () throws(MonitorError) in
      try socket.execute(command, arguments, within: timeout)
    }
  }

  /// Runs a line of the human monitor, and gives what it prints.
  func human(_ line: String) throws(Failure) -> String {
    try ask { () throws(MonitorError) in try socket.human(line, within: timeout) }
  }

  private func ask<Answer>(
    _ body: () throws(MonitorError) -> Answer
  ) throws(Failure) -> Answer {
    defer { for event in state.update({ exchange(&$0.events, with: []) }) { onEvent(event) } }
    do throws(MonitorError) { return try body() } catch {
      throw error.kind == .closed ? Self.closed : error.failure
    }
  }

  /// Waits for events until `match` turns one into a value; what it does not want is told all the
  /// same.
  ///
  /// - Returns: nil when nothing has been told for so long.
  func waitEvent<Value>(_ match: (QMPEvent) -> Value?) throws(Failure) -> Value? {
    while true {
      let next = state.take(seconds: timeout) { state -> QMPEvent?? in
        if !state.events.isEmpty { return .some(state.events.removeFirst()) }
        return state.hasEnded ? .some(nil) : nil
      }
      guard let next else { return nil }
      guard let event = next else { throw Self.closed }
      onEvent(event)
      if let value = match(event) { return value }
    }
  }

  /// It is a QEMU of ours: that it ends is its fault, and not the network's.
  private static var closed: Failure { Failure(.failed, "qemu", "it closed its monitor") }
}
