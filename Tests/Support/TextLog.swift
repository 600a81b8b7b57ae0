import Foundation

/// Text that arrives line by line from somewhere (a child's stderr, a guest's serial line), with
/// the time at which each line was complete.
public final class TextLog: Sendable {
  /// One complete line, without its line end.
  public struct Line: Sendable {
    /// Its place in the log, from 0.
    public let index: Int
    /// When its end was read.
    public let time: ContinuousClock.Instant
    /// The text.
    public let text: String
  }

  private struct State {
    var lines: [Line] = []
    var partial: [UInt8] = []
    var bytes: [UInt8] = []
    var ended = false
  }

  private let monitor = Monitor(State())

  /// An empty log.
  public init() {}

  /// Everything that arrived, undecodable bytes replaced.
  public var text: String { monitor.read { String(decoding: $0.bytes, as: UTF8.self) } }

  /// The complete lines so far.
  public var lines: [Line] { monitor.read { $0.lines } }

  /// Adds bytes as they come, whole lines or not.
  public func append(_ bytes: some Sequence<UInt8>) {
    monitor.update { state in
      let now = ContinuousClock.now
      for byte in bytes {
        state.bytes.append(byte)
        if byte == UInt8(ascii: "\n") {
          Self.endLine(&state, now)
        } else if byte != UInt8(ascii: "\r") {
          state.partial.append(byte)
        }
      }
    }
  }

  /// Nothing more will come: an unfinished line counts as complete, and waiters give up.
  public func end() {
    monitor.update { state in
      if !state.partial.isEmpty { Self.endLine(&state, ContinuousClock.now) }
      state.ended = true
    }
  }

  private static func endLine(_ state: inout State, _ now: ContinuousClock.Instant) {
    let text = String(decoding: state.partial, as: UTF8.self)
    state.lines.append(Line(index: state.lines.count, time: now, text: text))
    state.partial.removeAll(keepingCapacity: true)
  }

  /// Waits for a line, from place `start` on, that `match` turns into a value; nil at the time-out
  /// or when the log has ended without one.
  public func wait<R>(from start: Int = 0, _ timeout: Duration, for match: (Line) -> R?) -> R? {
    var next = start
    return monitor.wait(timeout) { state -> R?? in
      while next < state.lines.count {
        defer { next += 1 }
        if let value = match(state.lines[next]) { return .some(value) }
      }
      return state.ended ? .some(nil) : nil
    } ?? nil
  }

  /// Waits for the end; false at the time-out.
  public func waitForEnd(_ timeout: Duration) -> Bool {
    monitor.wait(timeout) { $0.ended ? true : nil } ?? false
  }
}
