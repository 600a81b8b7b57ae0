import Migration
import Synchronization
import Transport

/// Whether a channel has begun pages that no SYNC has ended yet.
final class Inside: Sendable { let flag = Atomic(false) }

/// Checkpoints: when pages may come, and how long the next one may take.
extension ReceiveSession {
  /// The guest is held, and checkpoints of it will come. No pages before the first is answered.
  func enterStandby() throws(Failure) {
    try closeEpoch()
    let patient = options.standby?.checkpointTimeout != nil
    state.update { state in
      state.standby = true
      state.lastCheckpoint = .now
      guard patient else { return }
      // One clock, and not one for each thing that may be silent.
      for channel in state.channels.values { channel.socket.waitForEver() }
      state.main?.waitForEver()
    }
  }

  /// A channel begins pages.
  func beginPages(_ inside: Inside, at place: String) throws(Failure) {
    // This store and load against closeEpoch's, all sequentially consistent: one of the two sees the other.
    inside.flag.store(true, ordering: .sequentiallyConsistent)
    guard isOpen.load(ordering: .sequentiallyConsistent) else {
      throw Failure(.corrupt, place, "it has sent pages outside of a checkpoint")
    }
  }

  /// A checkpoint is asked for and answered: its pages may come.
  func openEpoch() { isOpen.store(true, ordering: .sequentiallyConsistent) }

  /// A checkpoint is complete, as the main channel has it: no channel may have gone beyond its last sync point,
  /// for a primary sends nothing more until it is answered.
  func closeEpoch() throws(Failure) {
    isOpen.store(false, ordering: .sequentiallyConsistent)
    let ahead = state.read { state -> (id: Int, why: String)? in
      for (id, channel) in state.channels.sorted(by: { $0.key < $1.key }) {
        if channel.syncs > state.released {
          return (id, "it has sent more SYNCs than the main channel has sync points")
        }
        if channel.inside.flag.load(ordering: .sequentiallyConsistent) {
          return (id, "it has sent pages after the last SYNC")
        }
      }
      return nil
    }
    if let ahead { throw Failure(.corrupt, "channel \(ahead.id)", ahead.why) }
  }

  /// A checkpoint has been committed.
  func noteCheckpoint() { state.update { $0.lastCheckpoint = .now } }

  /// Counts the primary as lost when no checkpoint is committed for so many seconds, whatever it does meanwhile.
  /// Returns when the reception is over.
  func watchCheckpoints(_ limit: Double) {
    // Seconds that have been seen to pass: a process that was stopped meanwhile (a debugger, a frozen control group) has
    // not listened, so its primary may have waited for it.
    var (last, silent) = (state.read { $0.lastCheckpoint }, 0.0)
    while true {
      guard silent < limit else {
        // A primary that is found to live is not lost, whatever the clock says.
        _ = state.wait(seconds: Self.patience + 1) { state in
          !state.ending || state.over || state.failure != nil ? () : nil
        }
        return fail(.gone("primary", "no checkpoint for \(limit.formatted) s"))
      }
      let (before, slice) = (ContinuousClock.now, min(limit - silent, limit / 8, 1))
      if state.wait(seconds: slice, { $0.over || $0.failure != nil ? true : nil }) != nil { return }
      let passed = min((.now - before) / .seconds(1), 2 * slice)
      let now = state.read { $0.lastCheckpoint }
      silent = now == last ? silent + passed : min((.now - now) / .seconds(1), passed)
      last = now
    }
  }

  /// Seconds after which a connection that is still open says that its peer lives.
  private static let patience = 5.0

  /// The primary has closed one of its connections. Its death ends all of them at once; one that it keeps open says that
  /// it lives, and has ended the protection (`migrate_cancel`) or has lost that connection only.
  ///
  /// - Parameter place: which connection.
  func ended(_ place: String, _ why: String) -> Failure {
    let sockets = state.update { state in
      state.ending = true
      return [state.main].compactMap(\.self) + state.channels.values.map(\.socket)
    }
    let start = ContinuousClock.now
    while true {
      // Somebody has found out already, and cut them.
      if let failure { return failure }
      let ends = Set(sockets.map(\.end))
      if !ends.contains(.quiet) {
        // What lies there unread hides whether the end is behind it.
        let isOver = !ends.contains(.unread) || .now - start > .milliseconds(100)
        if isOver { return .gone(place, why) }
      } else if .now - start > .seconds(min(options.timeout, Self.patience)) {
        return .alive(place, "\(why), and keeps others open: it lives")
      }
      _ = state.wait(seconds: 0.002) { $0.failure != nil ? () : nil }
    }
  }
}
