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
  ///
  /// - Parameter desk: where its figures are told meanwhile; nil: nowhere.
  static func wait(_ guardian: Guardian, _ desk: FiguresDesk? = nil) -> WorkerEnd {
    Signals.watch(onSecond: guardian.kill, guardian.cancel)
    if let desk { open(desk, for: guardian) }
    defer { desk?.close() }
    let end = guardian.wait(onStatus: { desk?.update($0) })
    // What it has used counts as ours when it has been waited for.
    guardian.awaitEnd(within: 0.2)
    return end
  }

  /// Figures that nobody can have were asked for: then nothing is begun.
  static func open(_ desk: FiguresDesk, for guardian: Guardian) {
    do throws(Failure) { try desk.open() } catch { guardian.cancel(error) }
  }

  /// In a worker: it listens, and from here on has something to tell.
  static func listening(
    on endpoint: Endpoint, _ worker: Worker, _ status: @escaping @Sendable () -> RoleStatus
  ) {
    Console.note("listening on \(endpoint)")
    worker.publish(status)
  }

  /// What a standby's operator can have: `x-colo-lost-heartbeat`, as of a QEMU that is a secondary.
  static func standbyOrders(_ guardian: Guardian) -> [String: ControlSocket.Order] {
    let order: ControlSocket.Order = { _ throws(Failure) in
      guard guardian.isStandby else {
        throw Failure(.refused, "standby", "no primary is protected by it yet")
      }
      var failure = Failure(.unreachable, "primary", "the operator has declared it lost")
      failure.cause = .peerIsGone
      guardian.cancel(failure)
      return [:]
    }
    return ["x-colo-lost-heartbeat": order]
  }

  /// What a relay's operator can have: `migrate-set-parameters` with `max-bandwidth`, as of a QEMU;
  /// 0: no limit. And `x-pause`, `x-continue`.
  static func relayOrders(_ guardian: Guardian) -> [String: ControlSocket.Order] {
    func hold(_ holds: Bool) -> ControlSocket.Order {
      { _ throws(Failure) in
        guardian.hold(holds)
        return [:]
      }
    }
    return [
      "migrate-set-parameters": limit(guardian), "x-pause": hold(true), "x-continue": hold(false),
    ]
  }

  private static func limit(_ guardian: Guardian) -> ControlSocket.Order {
    { arguments throws(Failure) in
      let names = arguments.keys
      guard names == ["max-bandwidth"], let rate = arguments["max-bandwidth"].int, rate >= 0 else {
        throw Failure(
          .usage, "migrate-set-parameters", "it takes 'max-bandwidth', bytes a second from 0 on")
      }
      guardian.limit(bytesPerSecond: UInt64(rate))
      return [:]
    }
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
