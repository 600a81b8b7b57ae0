import Foundation

/// Notices a process that waits for storage which does not answer: a thread that stands in an
/// uninterruptible wait (state D of proc(5)) and has not been scheduled once in between. Nothing
/// can end such a thread before the storage answers, and it may hold the store's lock and the
/// connections.
struct StallWatch {
  private let pid: pid_t
  /// Seconds that a thread may stand.
  private let limit: Double
  private var looked = ContinuousClock.now
  private var since: [String: (switches: Substring, seconds: Double)] = [:]
  private var hasTold = false

  init(pid: pid_t, limit: Double) {
    self.pid = pid
    self.limit = limit
  }

  /// At the last look a thread was waiting.
  var isWaiting: Bool { !since.isEmpty }

  /// Seconds that a thread has stood so far.
  var longest: Double { since.values.map(\.seconds).max() ?? 0 }

  /// Whether a thread has been standing too long; true once. To be asked again and again.
  mutating func isStalled() -> Bool {
    let now = ContinuousClock.now
    // A look costs a file or two a thread.
    let interval = min(limit, 30) / 8
    guard !hasTold, now - looked > .seconds(interval) else { return false }
    // As in CallWatch: both processes may have been stopped.
    let passed = min((now - looked) / .seconds(1), interval + 1)
    looked = now
    let threads = "/proc/\(pid)/task"
    let ids = (try? FileManager.default.contentsOfDirectory(atPath: threads)) ?? []
    var still: [String: (switches: Substring, seconds: Double)] = [:]
    for id in ids {
      guard let switches = Self.switches(ofWaiting: "\(threads)/\(id)/status") else { continue }
      let before = since[id].flatMap { $0.switches == switches ? $0.seconds : nil }
      let seconds = before.map { $0 + passed } ?? 0
      still[id] = (switches, seconds)
      if seconds > limit { hasTold = true }
    }
    since = still
    return hasTold
  }

  /// How often a thread has gone to sleep; nil when it is not in an uninterruptible wait.
  private static func switches(ofWaiting path: String) -> Substring? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    var isWaiting = false
    for line in text.split(separator: "\n") {
      if line.hasPrefix("State:") { isWaiting = line.contains("D (") }
      if line.hasPrefix("voluntary_ctxt_switches:") { return isWaiting ? line : nil }
    }
    return nil
  }
}
