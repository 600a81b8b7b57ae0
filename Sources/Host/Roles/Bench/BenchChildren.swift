import Migration
import System
import Transport

/// The QEMUs that a benchmark has started, so that a signal can end them from another thread.
final class BenchChildren: Sendable {
  private let state = System.Monitor<(all: [Child], isClosed: Bool)>(([], false))

  /// Starts one, unless all are to end.
  func start(_ arguments: [String]) throws -> Child {
    // Under the lock: killAll() meets it, or it is not started.
    try state.update { state -> Result<Child, any Error> in
      guard !state.isClosed else { return .failure(Failure(.failed, "bench", "it is being ended")) }
      let result = Result { () throws(any Error) in try QEMUProcess.start(arguments) }
      if case .success(let child) = result { state.all.append(child) }
      return result
    }.get()
  }

  /// Ends all of them, so that whoever waits for them gives up; there will be no others.
  func killAll() {
    let all = state.update { state in
      state.isClosed = true
      return state.all
    }
    for child in all { child.kill() }
  }
}
