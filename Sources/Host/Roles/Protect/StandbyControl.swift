import Migration
import System
import TLS
import Transport

/// The connection to a standby: what it says last, and whether it says anything.
final class StandbyControl: Sendable {
  private struct State {
    var status: ControlStatus?
    /// Whether it is the one that is told; before, it has only looked.
    var isSeated = false
    /// Why nothing will come any more.
    var end: Failure?
  }

  private let socket: Socket
  private let line: ControlLine
  private let state = Monitor(State())
  private let threads = ThreadGroup()

  /// Connects, and looks at what the standby says first: whoever protects a guest by it goes on.
  ///
  /// - Parameters:
  ///   - tls: what it is reached by; nil: in clear.
  ///   - silence: seconds after which a standby that says nothing is lost.
  ///   - onMessage: gets each message from ``takePlace()`` on, on a thread of its own.
  ///   - onEnd: called once, with the reason, when no more of them will come.
  init(
    lookingAt standby: Endpoint, tls: TLSCredentials?, silence: Double,
    onMessage: @escaping @Sendable (ControlMessage, ControlLine) -> Void = { _, _ in },
    onEnd: @escaping @Sendable (Failure) -> Void = { _ in }
  ) throws(Failure) {
    do {
      socket = try Socket.connect(to: standby, timeout: silence, tls: tls)
      line = try ControlLine(lookingAt: socket)
      try threads.start("control") { [line, state] in
        let end: Failure
        do {
          try line.receive { message in
            let isSeated = state.update { state in
              if let status = message.status { state.status = status }
              return state.isSeated
            }
            if isSeated { onMessage(message, line) }
            return true
          }
          end = .gone("standby", "the standby has closed its control connection")
        } catch { end = Failure(error, at: "standby") }
        let isSeated = state.update { state in
          state.end = end
          return state.isSeated
        }
        // Else whoever looks is told.
        if isSeated { onEnd(end) }
      }
      try threads.start("alive") { [line, state] in
        var alive = ControlMessage()
        alive.alive = true
        while state.wait(seconds: ControlLine.beat, { $0.end }) == nil {
          // Whether it arrives is for the reading side to see.
          try? line.send(alive)
        }
      }
    } catch {
      throw Failure(error, at: "standby")
    }
    let first = state.wait(seconds: silence) { state -> ControlStatus?? in
      state.status.map { .some($0) } ?? (state.end == nil ? nil : .some(nil))
    }
    guard let first, first != nil else {
      var failure =
        state.read { $0.end }
        ?? Failure(.unreachable, "standby", "\(standby): it does not answer as a standby")
      cut()
      failure.hint =
        "'multifd receive --colo' of the same version listens there, "
        + (tls == nil ? "without --tls-creds?" : "with --tls-creds?")
      throw failure
    }
  }

  deinit { cut() }

  /// Takes the place of whoever protected by this standby before.
  func takePlace() throws(Failure) {
    // From here on its end is one that matters, so one that was before is thrown here.
    let end = state.update { state in
      state.isSeated = state.end == nil
      return state.end
    }
    if let end { throw end }
    var message = ControlMessage()
    message.look = false
    do { try line.send(message) } catch { throw Failure(error, at: "standby") }
  }

  /// What it has said last.
  var status: ControlStatus { state.read { $0.status } ?? ControlStatus() }

  /// Waits for a status that `body` makes something of.
  ///
  /// - Returns: nil when the time is over, or nothing will come any more.
  func wait<Result>(seconds: Double, _ body: (ControlStatus) -> Result?) -> Result? {
    let result = state.wait(seconds: seconds) { state -> Result?? in
      if let status = state.status, let result = body(status) { return .some(result) }
      return state.end == nil ? nil : .some(nil)
    }
    return result ?? nil
  }

  /// Says that these disks have all that the guest has written.
  func sendSynced(_ disks: [String]) {
    var message = ControlMessage()
    message.synced = disks
    try? line.send(message)
  }

  /// Says that the guest has ended by itself; empty: that it has not.
  ///
  /// - Parameter goesOn: it has not, but is about to go on alone.
  func sendEnded(_ reason: String, goesOn: Bool = false) {
    var message = ControlMessage()
    message.ended = reason
    if goesOn { message.alone = true }
    try? line.send(message)
  }

  /// Ends it, and waits for its threads.
  func cut() {
    line.cut()
    threads.joinAll(within: 1)
  }
}
