import COLO
import Foundation
import Observe
import Synchronization

/// What a standby counts. Its main thread adds, anybody reads.
final class StandbyFigures: Sendable {
  private struct Value {
    var state = StandbyState.precopy
    var report = StandbyReport()
    var checkpoints: RoleStatus.Checkpoints?
  }

  private let value = Mutex(Value())

  /// What it is doing now.
  func enter(_ state: StandbyState) {
    value.withLock { value in
      value.state = state
      if case .ready = state {
        value.checkpoints = RoleStatus.Checkpoints(
          number: 0, committed: Date().timeIntervalSince1970)
      }
    }
  }

  /// A checkpoint is committed.
  func add(
    _ number: Int, at committed: Double, pause: Duration, transfer: Duration, commit: Duration,
    pages: Int, cacheBytes: Int
  ) {
    value.withLock { value in
      value.report.add(
        number, pause: pause, transfer: transfer, commit: commit, pages: pages,
        cacheBytes: cacheBytes)
      guard var checkpoints = value.checkpoints else { return }
      (checkpoints.committed, checkpoints.cacheBytes) = (committed, cacheBytes)
      checkpoints.pause.record(pause)
      checkpoints.transfer.record(transfer)
      checkpoints.commit.record(commit)
      (checkpoints.number, checkpoints.pages) = (number, value.report.pages)
      checkpoints.cachePeak = value.report.cachePeak
      value.checkpoints = checkpoints
    }
  }

  /// For the end.
  var report: StandbyReport { value.withLock { $0.report.summed } }

  /// Puts what a standby is doing into a status.
  func tell(_ status: inout RoleStatus) {
    value.withLock { value in
      guard value.state != .precopy else { return }
      status.phase = value.state.word
      status.remaining = nil
      status.checkpoints = value.checkpoints
      status.failoverReady = value.state.lastCommitted != nil
    }
  }
}

extension StandbyState {
  /// Without a number.
  fileprivate var word: String {
    description.split(separator: " ").filter { Int($0) == nil }.joined(separator: " ")
  }
}
