import COLO
import Memory
import Store
import System
import Transport

/// Copies committed checkpoints from the cache to the guest's RAM files, behind the running
/// primary, one after the other, on two threads where it is worth it.
final class RedoWorker: Sendable {
  private enum Job {
    case copy(number: Int, COLOStage.Sealed)
    case warm
  }

  private struct State {
    var queue: [Job] = []
    var redone = 0
    var closed = false
    var failure: (any Error)?
  }

  private let stage: COLOStage
  private let store: Store
  private let state = Monitor(State())
  private let thread = ThreadGroup()

  init(
    _ stage: COLOStage, _ store: Store, onFailure: @escaping @Sendable (any Error) -> Void
  ) throws(SystemError) {
    self.stage = stage
    self.store = store
    try thread.start("redo") { [self] in
      while let next = state.take(
        seconds: nil,
        { state -> Job?? in
          if !state.queue.isEmpty { return .some(state.queue.removeFirst()) }
          return state.closed ? .some(nil) : nil
        }) ?? nil
      {
        do { try perform(next) } catch {
          state.update { state in
            state.failure = error
            state.closed = true
            state.queue = []
          }
          onFailure(error)
        }
      }
    }
  }

  /// A checkpoint has been committed.
  func enqueue(_ number: Int, _ sealed: COLOStage.Sealed) {
    state.update { $0.queue.append(.copy(number: number, sealed)) }
  }

  /// The first checkpoint is still some time away: the cache gets its memory now.
  func warm() { state.update { $0.queue.append(.warm) } }

  /// Whether the guest has all of a checkpoint (0 and less: nothing to have).
  func hasRedone(_ number: Int) -> Bool { state.read { $0.redone >= number } }

  /// Waits until the guest has all of a checkpoint (0 and less: nothing to wait for).
  func waitFor(_ number: Int) throws {
    let failure = state.wait(seconds: nil) { state -> (any Error)?? in
      if let failure = state.failure { return .some(failure) }
      return state.redone >= number ? .some(nil) : nil
    }
    if case .some(.some(let failure)) = failure { throw failure }
  }

  /// Finishes what is in the queue, and ends.
  func close() {
    state.update { $0.closed = true }
    thread.joinAll()
  }

  private func perform(_ job: Job) throws {
    switch job {
    case .copy(let number, let sealed):
      try copy(sealed)
      try store.noteRedone(number)
      try stage.forget(sealed)
      state.update { $0.redone = number }
    // Where room is short it is for the guest and its devices; a cache may find some when it
    // counts.
    case .warm: try? stage.warm(bytes: min(StagingLog.kept, store.room / 4))
    }
  }

  private func copy(_ sealed: COLOStage.Sealed) throws {
    // A thread costs as much as copying some hundred pages.
    guard sealed.entries == 0 || sealed.entries > 1024 else { return try stage.redo(sealed) }
    let failed = Monitor<(any Error)?>(nil)
    let helper = ThreadGroup()
    do {
      try helper.start("redo 2") { [stage] in
        do { try stage.redo(sealed, part: 1, parts: 2) } catch { failed.update { $0 = error } }
      }
    } catch {
      // It would only have been quicker.
      return try stage.redo(sealed)
    }
    defer { helper.joinAll() }
    try stage.redo(sealed, part: 0, parts: 2)
    helper.joinAll()
    if let error = failed.read({ $0 }) { throw error }
  }
}
