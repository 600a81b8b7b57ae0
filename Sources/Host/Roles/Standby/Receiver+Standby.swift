import Migration
import Store
import System
import Transport
import Wire

/// How a standby ended: the guest is in the store as of the last committed checkpoint.
public struct StandbyOutcome: Sendable {
  /// What it has seen.
  public var report: StandbyReport
  /// Why there is no more: the primary closed, went silent, or sent what cannot be.
  public var cause: Failure
}

extension Receiver {
  /// Listens, receives a COLO primary's guest and its checkpoints, until the primary is lost.
  ///
  /// - Parameters:
  ///   - onListening: called once the primary may connect.
  ///   - onProgress: called a few times a second during precopy.
  ///   - onReady: called when precopy is held; from here on the guest can be continued.
  /// - Throws: before that, after the primary has been told and the store swept.
  public func runStandby(
    onListening: (Endpoint) -> Void, onProgress: @escaping @Sendable (ReceiveProgress) -> Void,
    onReady: () -> Void
  ) throws(Failure) -> StandbyOutcome {
    try serve(onListening) { (main, socket, store, _) throws(Failure) in
      let standby = try untilHeld(main, socket, store, onProgress) {
        try main.run()
        guard let stage = main.stage else {
          throw Failure(.corrupt, "main channel", "the primary sent no RAM")
        }
        try hold(main, main.manifest(uuid: session.uuid), store, as: .standby)
        let standby = try Standby(socket, store, stage, session)
        // Before the primary hears of it: if it dies in between, it is a primary that is lost.
        try session.enterStandby()
        session.events.isStandby()
        try standby.ready(sourceListens: main.sourceListens)
        return standby
      }
      onReady()
      main.standby = standby
      let watchdog = ThreadGroup()
      if let limit = options.standby?.checkpointTimeout {
        do {
          try watchdog.start("checkpoints") { [session] in session.watchCheckpoints(limit) }
        } catch { session.fail(Failure(error, at: "receive")) }
      }
      defer { watchdog.joinAll() }
      var cause = Failure(.unreachable, "primary", "it is gone")
      do { try main.runCheckpoints() } catch {
        cause = session.failure ?? Failure(error, at: "primary")
      }
      session.fail(cause)
      socket.cut()
      _ = standby.lose()
      return StandbyOutcome(report: standby.report.summed, cause: cause)
    }
  }
}
