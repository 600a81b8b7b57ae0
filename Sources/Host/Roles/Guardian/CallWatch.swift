import PluginLoader

/// Notices a backend that does not come back.
struct CallWatch {
  /// Seconds that a callback may take without waiting for payload.
  let limit: Double
  /// The callbacks by entry, and seconds that have been seen to pass since they changed.
  private var since: [Int: (call: BackendCalls.Call, seconds: Double)] = [:]
  private var looked: ContinuousClock.Instant?
  private var hasTold = false

  init(limit: Double) { self.limit = limit }

  /// The callback that has lasted longest so far.
  var longest: (call: BackendCalls.Call, seconds: Double)? {
    since.values.max { $0.seconds < $1.seconds }
  }

  /// The callback that has lasted too long, once; nil while there is none. To be asked again and
  /// again.
  mutating func stuck(
    _ calls: [BackendCalls.Call] = BackendCalls.shared.inside(), now: ContinuousClock.Instant = .now
  ) -> BackendCalls.Call? {
    guard !hasTold else { return nil }
    // This process may have been stopped meanwhile, and the worker with it: a long time between two
    // looks counts for a second.
    let passed = min(looked.map { (now - $0) / .seconds(1) } ?? 0, 1)
    looked = now
    var still: [Int: (call: BackendCalls.Call, seconds: Double)] = [:]
    for call in calls where !call.isWaiting {
      let before = since[call.entry].flatMap { $0.call.turn == call.turn ? $0.seconds : nil }
      let seconds = before.map { $0 + passed } ?? 0
      still[call.entry] = (call, seconds)
      if seconds > limit {
        hasTold = true
        return call
      }
    }
    since = still
    return nil
  }
}
