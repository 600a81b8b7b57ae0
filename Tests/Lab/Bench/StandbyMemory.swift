import Foundation
import TestSupport

/// Watches what a standby takes: its processes' anonymous memory, and the blocks of a folder's
/// files.
final class StandbyMemory: Sendable {
  /// Bytes at one moment.
  struct Amount {
    var anonymous = 0
    var files = 0
    var total: Int { anonymous + files }
  }

  private let state = Monitor((peak: Amount(), isStopped: false, hasEnded: false))

  /// Looks again and again.
  ///
  /// - Parameters:
  ///   - pid: a process, with all that it has started.
  ///   - folder: with the folders in it; nil: none.
  ///   - interval: seconds between two looks.
  init(_ pid: pid_t, folder: String?, interval: Double = 0.05) {
    let state = state
    Thread.detachNewThread {
      while !state.read({ $0.isStopped }) {
        let now = Self.amount(pid, folder: folder)
        state.update { if now.total > $0.peak.total { $0.peak = now } }
        Thread.sleep(forTimeInterval: interval)
      }
      state.update { $0.hasEnded = true }
    }
  }

  deinit { state.update { $0.isStopped = true } }

  /// Ends the watch: the most that was seen.
  func stop() -> Amount {
    state.update { $0.isStopped = true }
    _ = state.wait(.seconds(5)) { $0.hasEnded ? true : nil }
    return state.read { $0.peak }
  }

  /// What is taken now.
  static func amount(_ pid: pid_t, folder: String?) -> Amount {
    Amount(
      anonymous: family(of: pid).reduce(0) { $0 + anonymous($1) },
      files: folder.map(MemorySampler.blocks) ?? 0)
  }

  /// A process and all that descend from it.
  static func family(of pid: pid_t) -> [pid_t] {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    let children = tasks.flatMap { task -> [pid_t] in
      let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/children", encoding: .utf8)
      return (text ?? "").split(separator: " ").compactMap { pid_t($0) }
    }
    return [pid] + children.flatMap(family)
  }

  /// Its share of what forks have in common, so that the sum over processes is true.
  private static func anonymous(_ pid: pid_t) -> Int {
    MemorySampler.bytes("Pss_Anon", in: "/proc/\(pid)/smaps_rollup")
  }
}
