import COLO
import Migration
import Store
import Synchronization
import System
import Transport

/// How a standby ended: the guest is in the store as of the last committed checkpoint.
public struct StandbyOutcome: Sendable {
  /// What it has seen.
  public var report: StandbyReport
  /// Why there is no more: the primary closed, went silent, or sent what cannot be.
  public var cause: Failure
}

extension Receiver {
  /// Before its disks are opened: those of a guest that is in it are to stay as they are.
  private func openStore(_ standby: StandbyOptions) throws(Failure) -> Store {
    do {
      if let wanted = standby.disks, wanted.adopts {
        // The primary has gone on: what the store has of its guest is not to be continued any more,
        // and its disks are about to leave it behind. Not for a path that was mistyped.
        for disk in wanted.disks { _ = try DiskImage(disk.image) }
        try Store.abandon(options.store)
      }
      return try prepareStore()
    } catch {
      var failure = Failure(error, at: "receive")
      if standby.disks?.adopts == false, error.kind == .occupied {
        failure.hint =
          "fail over, or remove the folder; --adopt gives a standby's guest up for a primary that "
          + "has gone on"
      }
      throw failure
    }
  }

  /// The guest's disks are served from the start: a primary copies them before it migrates.
  private func openDisks(_ standby: StandbyOptions) throws(Failure) -> ProtectedDisks? {
    guard let wanted = standby.disks else { return nil }
    let disks = try ProtectedDisks(
      wanted, store: options.store, timeout: options.timeout, tls: options.tls, log: log)
    log("disks on \(disks.endpoint)")
    return disks
  }

  /// Listens, receives a COLO primary's guest and its checkpoints, until the primary is lost.
  ///
  /// - Parameters:
  ///   - standby: how.
  ///   - onListening: called once the primary may connect.
  ///   - onProgress: called a few times a second during precopy.
  ///   - onReady: called when precopy is held; from here on the guest can be continued.
  /// - Throws: before that, after the primary has been told and the store swept.
  public func runStandby(
    _ standby: StandbyOptions, onListening: (Endpoint) -> Void,
    onProgress: @escaping @Sendable (ReceiveProgress) -> Void, onReady: () -> Void
  ) throws(Failure) -> StandbyOutcome {
    guard options.reference == nil else {
      throw Failure(
        .usage, "receive",
        "a COLO primary is a QEMU, which sends all pages: a reference is no help",
        hint: "leave out --reference, or --colo")
    }
    if let limit = standby.checkpointTimeout { try Failure.check(limit, "receive") }
    let store = try openStore(standby)
    let disks = try openDisks(standby)
    defer { disks?.close() }
    let control: ControlHost
    do { control = try ControlHost(disks, store: options.store, log: log) } catch {
      throw Failure(error, at: "control")
    }
    defer { control.close() }
    let counts = StandbyFigures()
    figures.withLock { figures in
      figures.role = .standby
      figures.tell = { status in
        counts.tell(&status)
        status.disks = disks?.reports
      }
    }
    // They go when this returns, and their images can be somebody else's.
    defer { figures.withLock { $0.tell = { status in counts.tell(&status) } } }
    let watch = PrimaryWatch(session, control)
    let reception = StandbyReception(standby, watch, disks, control)
    return try serve(onListening, reception, in: store, onControl: control.admit) {
      (main, socket, store, _) throws(Failure) in
      let secondary = try untilHeld(main, socket, store, onProgress) {
        try main.run()
        guard let stage = main.stage else {
          throw Failure(.corrupt, "main channel", "the primary sent no RAM")
        }
        reception.manifestDisks = try disks?.protect()
        try hold(main, main.manifest(uuid: session.uuid), store, as: .standby)
        let secondary = try Standby(
          socket, store, stage, session, watch, events, disks, control, counts)
        // No pages before the first checkpoint is answered.
        try session.closeEpoch()
        // Before the primary hears of it: if it dies in between, it is a primary that is lost.
        watch.begin(patient: standby.checkpointTimeout != nil)
        events.isStandby()
        try secondary.ready(sourceListens: main.sourceListens)
        return secondary
      }
      onReady()
      if let hint = main.stage.flatMap({ MemoryReport($0.guest) })?.hint { log(hint) }
      reception.standby = secondary
      let watchdog = ThreadGroup()
      if let limit = standby.checkpointTimeout {
        do { try watchdog.start("checkpoints") { watch.watch(limit) } } catch {
          session.fail(Failure(error, at: "receive"))
        }
      }
      defer { watchdog.joinAll() }
      var cause = Failure(.unreachable, "primary", "it is gone")
      do { try reception.runCheckpoints(main) } catch {
        cause = session.failure ?? Failure(error, at: "primary")
      }
      session.fail(cause)
      socket.cut()
      // First: what is to be copied may take longer than this process is given.
      if let ended = control.ended(within: 0) {
        do throws(StoreError) { try store.noteEnded(ended.why, goesOn: ended.goesOn) } catch {
          log("the store cannot be told that its guest has ended: \(error)")
        }
      }
      _ = secondary.lose(because: cause.why)
      return StandbyOutcome(report: counts.report, cause: cause)
    }
  }
}
