/// Notices when this process has stood still: it was stopped, frozen with its control group, or had
/// no processor; or the machine was suspended. What others did meanwhile is not known then, and
/// what is found on waking is no sign of when it came.
public final class Standstill: Sendable {
  private struct State {
    var last = ContinuousClock.now
    /// The last of those that were long.
    var gaps: [(end: ContinuousClock.Instant, length: Duration)] = []
    var isOver = false
  }

  /// Seconds between ticks.
  private static let beat = 0.1
  /// What a machine that is busy may make of that.
  private static let longest = Duration.seconds(0.5)
  private static let mostGaps = 16

  private let state = Monitor(State())
  private let threads = ThreadGroup()
  private let isWatching: Bool

  /// Watches from now on. Without a thread for it nothing is noticed.
  public init() {
    do {
      try threads.start("standstill") { [state] in
        while state.wait(seconds: Self.beat, { $0.isOver ? () : nil }) == nil {
          state.update { state in
            let now = ContinuousClock.now
            let passed = now - state.last
            state.last = now
            guard passed > Self.longest else { return }
            state.gaps = state.gaps.suffix(Self.mostGaps - 1) + [(now, passed)]
          }
        }
      }
      isWatching = true
    } catch { isWatching = false }
  }

  deinit {
    state.update { $0.isOver = true }
    threads.joinAll()
  }

  /// Seconds for which it has stood still: the longest of the times whose end has come since then.
  public func longest(since start: ContinuousClock.Instant) -> Double {
    guard isWatching else { return 0 }
    return state.read { state in
      // One that has just ended may not have been noticed yet.
      let all = [.now - state.last] + state.gaps.filter { $0.end > start }.map(\.length)
      return (all.max() ?? .zero) / .seconds(1)
    }
  }
}
