import PluginLoader

/// Notices a backend that does not come back.
struct CallWatch {
  /// Seconds that a callback may take without waiting for payload.
  let limit: Double
  private var since: [Int: (turn: UInt64, ContinuousClock.Instant)] = [:]
  private var hasTold = false

  init(limit: Double) { self.limit = limit }

  /// The callback that has lasted too long, once; nil while there is none. To be asked again and again.
  mutating func stuck(
    _ calls: [BackendCalls.Call] = BackendCalls.shared.inside(), now: ContinuousClock.Instant = .now
  ) -> BackendCalls.Call? {
    guard !hasTold else { return nil }
    var still: [Int: (turn: UInt64, ContinuousClock.Instant)] = [:]
    for call in calls where !call.isWaiting {
      let entered = since[call.entry].flatMap { $0.turn == call.turn ? $0.1 : nil } ?? now
      still[call.entry] = (call.turn, entered)
      if now - entered > .seconds(limit) {
        hasTold = true
        return call
      }
    }
    since = still
    return nil
  }
}
