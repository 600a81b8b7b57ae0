import Migration
import System
import Transport

/// Finds out what has become of a primary whose guest is held: it is gone, it lives and has left,
/// or it is too slow.
final class PrimaryWatch: Sendable {
  private struct State {
    /// One of the primary's connections has ended, and what that means is being found out.
    var isEnding = false
    /// When the last checkpoint was committed, or the guest was held.
    var lastCheckpoint = ContinuousClock.now
    /// When that was asked for: the primary has taken our word since then.
    var lastHeard = ContinuousClock.now
  }

  private let session: Session
  private let control: ControlHost
  private let state = Monitor(State())
  private let standstill = Standstill()
  /// Seconds after which a connection that is still open says that its peer lives.
  private static let patience = 5.0
  /// The same where a disk's connection has ended: the primary's guest may be standing still for as
  /// long. A process that dies closes all of them within milliseconds, and a network that has lost the
  /// end of one sends it again after some 200.
  private static let diskPatience: Duration = .milliseconds(500)

  /// How long a protect whose line is open may take to say what has become of its guest, seconds.
  /// It closes its line at once where QEMU has died.
  private static let word = 5.0

  init(_ session: Session, _ control: ControlHost) {
    self.session = session
    self.control = control
  }

  /// The guest is held, and checkpoints of it will come: from here on a connection that has ended
  /// is a primary that is lost. Silence is not: how long is too long for a checkpoint is
  /// ``watch(_:)``'s to say.
  ///
  /// - Parameter patient: that one will be watched, so there is one clock, and not one for each
  ///   thing that may be silent.
  func begin(patient: Bool) {
    state.update { ($0.lastCheckpoint, $0.lastHeard) = (.now, .now) }
    session.hold(patient: patient) { [weak self] error, place in
      switch error.kind {
      case .closed: self?.ended(place, error.message)
      case .reset, .lost: self?.gone(place, error.message)
      default: nil
      }
    }
  }

  /// The primary is gone: lost, unless somebody who knows says that its guest has ended or goes on,
  /// or this side has not listened for so long that it may.
  ///
  /// - Parameter seconds: how long whoever knows may take.
  private func gone(
    _ place: String, _ why: String, within seconds: Double = PrimaryWatch.word
  ) -> Failure {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while .now < deadline, control.isConnected, session.failure == nil,
      control.ended(within: 0.05) == nil
    {}
    // What was said last is known when its line is known to be closed.
    if let ended = control.ended(within: 0) {
      return ended.goesOn
        ? .alive(place, "its guest goes on there, alone (\(ended.why)): it is not revived")
        : .alive(place, "its guest has ended by itself (\(ended.why)): it is not revived")
    }
    let stood = standstill.longest(since: state.read { $0.lastHeard })
    return Failure.stoodStill(for: stood) ?? .gone(place, why)
  }

  /// A checkpoint has been committed.
  ///
  /// - Parameter asked: when its primary was told that it may take it.
  func noteCheckpoint(asked: ContinuousClock.Instant) {
    state.update { ($0.lastCheckpoint, $0.lastHeard) = (.now, asked) }
  }

  /// Counts the primary as lost when no checkpoint is committed for so many seconds, whatever it
  /// does meanwhile. Returns when the reception is over.
  func watch(_ limit: Double) {
    // Seconds that have been seen to pass: a process that was stopped meanwhile (a debugger, a
    // frozen control group) has not listened, so its primary may have waited for it.
    var (last, silent) = (state.read { $0.lastCheckpoint }, 0.0)
    while true {
      guard silent < limit else {
        // A primary that is found to live is not lost, whatever the clock says.
        let deadline = ContinuousClock.now + .seconds(Self.patience + Self.word + 1)
        while state.read({ $0.isEnding }), .now < deadline {
          if session.waitForEnd(seconds: 0.05) { return }
        }
        return session.fail(
          gone("primary", "no checkpoint for \(limit.formatted) s", within: 0))
      }
      let (before, slice) = (ContinuousClock.now, min(limit - silent, limit / 8, 1))
      if session.waitForEnd(seconds: slice) { return }
      let passed = min((.now - before) / .seconds(1), 2 * slice)
      let now = state.read { $0.lastCheckpoint }
      silent = now == last ? silent + passed : min((.now - now) / .seconds(1), passed)
      last = now
    }
  }

  /// The primary has closed one of its connections. Its death ends all of them at once; one that it
  /// keeps open says that it lives, and has ended the protection (`migrate_cancel`) or has lost
  /// that connection only.
  ///
  /// - Parameter place: which connection.
  func ended(_ place: String, _ why: String) -> Failure {
    state.update { $0.isEnding = true }
    let start = ContinuousClock.now
    while true {
      // Somebody has found out already, and cut them.
      if let failure = session.failure { return failure }
      let ends = session.ends
      if !ends.contains(.quiet) {
        // So much unread hides whether the end is behind it.
        let isOver = !ends.contains(.unread) || .now - start > .milliseconds(100)
        if isOver { return gone(place, why) }
      } else if .now - start > .seconds(min(session.timeout, Self.patience)) {
        return .alive(place, "\(why), and keeps others open: it lives")
      }
      _ = session.waitForEnd(seconds: 0.002)
    }
  }

  /// No more checkpoints can be taken of a disk. Its connection is one of the primary's, too: the
  /// kernel closes those of a process that dies in some order, and the first to end may be this one.
  ///
  /// To be called with all of a checkpoint read, so that no end is hidden behind anything unread.
  func lost(_ disk: DiskLoss) -> Failure {
    guard let since = disk.disconnected else { return disk.ofLiving }
    state.update { $0.isEnding = true }
    while true {
      if let failure = session.failure { return failure }
      if session.ends == [.ended] { return gone(disk.place, disk.reason) }
      if .now - since > Self.diskPatience { return disk.ofLiving }
      _ = session.waitForEnd(seconds: 0.002)
    }
  }
}
