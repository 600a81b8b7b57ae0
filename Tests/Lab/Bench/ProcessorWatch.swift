import Foundation
import TestSupport

/// The processor time of `multifd` and its worker. A process that ends before its worker is gone,
/// as it does on a busy machine, does not count what that has used: so it is looked at.
final class ProcessorWatch: Sendable {
  private struct State {
    /// Seconds, by process.
    var seen: [pid_t: Double] = [:]
    var hasEnded = false
  }

  private let process: ChildProcess
  private let state = Monitor(State())

  /// Looks a hundred times a second, until all of them are gone.
  init(_ process: ChildProcess) {
    self.process = process
    let state = state
    Thread.detachNewThread {
      var family: Set<pid_t> = [process.pid]
      while !family.isEmpty {
        if process.isRunning { family.formUnion(StandbyMemory.family(of: process.pid)) }
        for pid in family {
          guard let time = Self.processorTime(pid) else {
            family.remove(pid)
            continue
          }
          state.update { $0.seen[pid] = time }
        }
        Thread.sleep(forTimeInterval: 0.01)
      }
      state.update { $0.hasEnded = true }
    }
  }

  /// User and system time of all of them, when they have ended.
  func end() -> Duration {
    _ = state.wait(.seconds(10)) { $0.hasEnded ? true : nil }
    // What it has waited for counts as its own, and then all of it does.
    return max(
      process.processorTime, .seconds(state.read { $0.seen.values.reduce(0, +) }))
  }

  /// Seconds; nil for one that is gone, or that only waits to be reaped.
  private static func processorTime(_ pid: pid_t) -> Double? {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let close = text.lastIndex(of: ")")
    else { return nil }
    // proc(5): after the command in parentheses the state; utime and stime are the 12th and 13th
    // word, in clock ticks.
    let words = text[close...].split(separator: " ").dropFirst()
    guard let state = words.first, state != "Z", words.count > 12 else { return nil }
    let ticks = words.dropFirst(11).prefix(2).compactMap { Double($0) }.reduce(0, +)
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
