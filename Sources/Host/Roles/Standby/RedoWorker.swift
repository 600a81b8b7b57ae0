import COLO
import Store
import Transport

/// Copies committed checkpoints from the cache to the guest's RAM files, behind the running primary, one
/// after the other, on two threads where it is worth it.
final class RedoWorker: Sendable {
  private struct State {
    var queue: [(number: Int, sealed: COLOStage.Sealed)] = []
    var redone = 0
    var closed = false
    var failure: (any Error)?
  }

  private let stage: COLOStage
  private let store: Store
  private let state = Monitor(State())
  private let thread = ThreadGroup()

  init(_ stage: COLOStage, _ store: Store, onFailure: @escaping @Sendable (any Error) -> Void) {
    self.stage = stage
    self.store = store
    thread.start("redo") { [self] in
      while let next = state.wait(
        seconds: nil,
        { state -> (Int, COLOStage.Sealed)?? in
          if !state.queue.isEmpty { return .some(state.queue.removeFirst()) }
          return state.closed ? .some(nil) : nil
        }) ?? nil
      {
        do {
          try copy(next.1)
          try store.noteRedone(next.0)
          try stage.forget(next.1)
          state.update { $0.redone = next.0 }
        } catch {
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
    state.update { $0.queue.append((number, sealed)) }
  }

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

  private func copy(_ sealed: COLOStage.Sealed) throws {
    // A thread costs as much as copying some hundred pages.
    guard sealed.entries == 0 || sealed.entries > 1024 else { return try stage.redo(sealed) }
    let failed = Monitor<(any Error)?>(nil)
    let helper = ThreadGroup()
    helper.start("redo 2") { [stage] in
      do { try stage.redo(sealed, part: 1, parts: 2) } catch { failed.update { $0 = error } }
    }
    defer { helper.joinAll() }
    try stage.redo(sealed, part: 0, parts: 2)
    helper.joinAll()
    if let error = failed.read({ $0 }) { throw error }
  }
}
