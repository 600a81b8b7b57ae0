import Migration
import Synchronization
import System
import Transport

/// A connection to the monitor of a QEMU that runs already: any thread's commands, each with its
/// answer, and events as they come. A thread of its own reads always, for a QEMU that cannot get
/// rid of its events stands still sooner or later.
package final class QMPSocket: GuestMonitor {
  private struct State {
    var greeting: QMPValue?
    var next: Int64 = 1
    /// Whose answer is waited for; an answer that comes too late is nobody's.
    var asked: Set<Int64> = []
    var answers: [Int64: QMPValue] = [:]
    /// Why nothing will come any more.
    var end: String?
  }

  private let socket: Socket
  private let state = Monitor(State())
  /// A line is written whole.
  private let writing = Mutex(())
  /// Its thread ends with the connection, and is not waited for.
  private let threads = ThreadGroup()
  /// See ``GuestMonitor``.
  package let takesOutOfBand: Bool
  /// What it has said first: `version`, `capabilities`.
  let greeting: QMPValue
  /// See ``GuestMonitor``.
  package var tellsEvents: Bool { true }
  /// See ``GuestMonitor``.
  package var user: UInt32? { socket.peerUser }
  /// The longest line: the answer to `query-named-block-nodes` of a big guest is a megabyte.
  private static let longest = 1 << 24

  /// Connects, and negotiates: out of band where that can be had.
  ///
  /// - Parameters:
  ///   - endpoint: where the monitor listens.
  ///   - seconds: how long that may take.
  ///   - onEvent: called on the reading thread, in their order; answers come in between.
  ///   - onEnd: called on the reading thread when QEMU has closed the connection.
  package init(
    _ endpoint: Endpoint, within seconds: Double,
    onEvent: @escaping @Sendable (QMPEvent) -> Void = { _ in },
    onEnd: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(Failure) {
    do { socket = try Socket.connect(to: endpoint, timeout: seconds) } catch {
      throw Failure(error, at: "qemu")
    }
    socket.waitForEver()
    do {
      try threads.start("qmp") { [socket, state] in
        let end = Self.read(socket, state, onEvent)
        state.update { $0.end = end }
        onEnd(end)
      }
    } catch { throw Failure(error, at: "qemu") }
    let greeting = state.wait(seconds: seconds) { state -> QMPValue?? in
      state.greeting.map { .some($0) } ?? (state.end == nil ? nil : .some(nil))
    }
    guard let greeting, let greeting else {
      socket.cut()
      throw Failure(
        .unreachable, "qemu", "its monitor \(endpoint) says nothing",
        hint: "a monitor talks to one at a time: give multifd one of its own, "
          + "-qmp unix:PATH,server=on,wait=off")
    }
    self.greeting = greeting
    let offered = greeting["capabilities"].elements.contains("oob")
    takesOutOfBand = offered
    do {
      try execute("qmp_capabilities", offered ? ["enable": ["oob"]] : .null, within: seconds)
    } catch {
      socket.cut()
      throw error.failure
    }
  }

  deinit { socket.cut() }

  /// See ``GuestMonitor``.
  package func execute(
    _ command: String, _ arguments: QMPValue, within seconds: Double, outOfBand: Bool
  ) throws(MonitorError) -> QMPValue {
    let id = state.update { state in
      defer { state.next += 1 }
      state.asked.insert(state.next)
      return state.next
    }
    defer {
      state.update { state in
        state.asked.remove(id)
        state.answers[id] = nil
      }
    }
    let name = outOfBand && takesOutOfBand ? "exec-oob" : "execute"
    var message: [String: QMPValue] = [name: .string(command), "id": .integer(id)]
    if arguments != .null { message["arguments"] = arguments }
    let line = Array((QMPValue.object(message).text + "\n").utf8)
    let written = writing.withLock { _ in
      Result { () throws(TransportError) in try socket.write(line) }
    }
    if case .failure(let error) = written {
      let kind: MonitorError.Kind = error.kind == .timedOut ? .silent : .closed
      throw MonitorError(kind, "\(command): \(error.message)")
    }
    let answer = state.wait(seconds: seconds) { state -> QMPValue?? in
      state.answers[id].map { .some($0) } ?? (state.end == nil ? nil : .some(nil))
    }
    guard let answer else {
      throw MonitorError(.silent, "no answer to \(command) within \(seconds) s")
    }
    guard let answer else {
      throw MonitorError(.closed, state.read { $0.end } ?? Self.closed)
    }
    guard case .null = answer["error"] else {
      throw MonitorError(.refused, "\(command): \(answer["error"]["desc"].string ?? "failed")")
    }
    return answer["return"]
  }

  private static let closed = "it has ended, or closed its monitor"

  /// Reads until the end, and says what that was.
  private static func read(
    _ socket: Socket, _ state: Monitor<State>, _ onEvent: (QMPEvent) -> Void
  ) -> String {
    var input = InputBuffer(socket, capacity: 1 << 16)
    while true {
      let bytes: [UInt8]
      do {
        switch try input.line(atMost: longest) {
        case .line(let line): bytes = line
        case .tooLong: return "its monitor says no end of a line"
        case .end: return closed
        }
      } catch {
        // One that has not read all that it was told ends with a reset.
        return error.kind == .reset ? closed : error.message
      }
      guard let line = QMPValue(parsing: bytes) else { return "its monitor does not speak QMP" }
      if let event = QMPEvent(line) {
        onEvent(event)
      } else if let id = line["id"].int.map(Int64.init) {
        state.update { state in
          if state.asked.contains(id) { state.answers[id] = line }
        }
      } else if line["QMP"] != .null {
        state.update { $0.greeting = line["QMP"] }
      }
    }
  }
}
