import Foundation
import Migration
import Roles
import Transport

/// How a command has its role work in a process of its own, see ``Guardian``.
enum Workers {
  /// Starts the worker. Nothing that has threads may have been started before.
  ///
  /// - Parameter sockets: what was passed to this process for the worker.
  static func start(
    _ role: String, callLimit: Double, passing sockets: [PassedSockets?] = [],
    _ work: (Worker) -> WorkerEnd
  ) throws(Failure) -> Guardian {
    // The worker hears of them through its guardian.
    Signals.block()
    return try Guardian(role, callLimit: callLimit, passing: sockets, work)
  }

  /// Waits for a worker. Signals end it, and only then this process.
  static func wait(_ guardian: Guardian) -> WorkerEnd {
    Signals.watch(onSecond: guardian.kill, guardian.cancel)
    let end = guardian.wait()
    // What it has used counts as ours when it has been waited for.
    guardian.awaitEnd(within: 0.2)
    return end
  }

  /// Says how a worker ended.
  ///
  /// - Parameter leftovers: what is in the store is looked at, and told, when the worker could not
  ///   say it.
  static func finish(
    _ guardian: Guardian, _ end: WorkerEnd, _ leftovers: Leftovers, after role: Leftovers.Role
  ) throws(Failure) {
    if !end.output.isEmpty { print(end.output) }
    guard var failure = end.failure else { return }
    // A worker that still stands somewhere has the store.
    if !end.isOrderly, guardian.isGone { leftovers.settle(&failure, after: role) }
    throw failure
  }
}
