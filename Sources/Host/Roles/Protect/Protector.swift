// Protect: the side of the primary. Pushes the buttons of a stock QEMU, and watches.

import Foundation
import Migration
import Synchronization
import System
import Transport

/// Protects the guest of a QEMU that runs, by a standby: looks at it, mirrors its disks, starts
/// COLO, holds its packets, and lets go of all that when the standby is lost.
///
///     1  the control connection          who is there, which disks it has
///     2  blockdev-add, blockdev-mirror   until each disk is synced; told to the standby
///     3  capabilities, parameters, migrate
///     4  `colo`: packets wait            from here on the guest is protected
///     5  watch
///     6  yank, x-colo-lost-heartbeat, packets let through, filters and mirrors out
///
/// All that it puts into QEMU has a name of `ProtectNames`, so that the next process finds it.
public final class Protector: Sendable {
  let options: ProtectOptions
  let state: ProtectState
  let log: @Sendable (String) -> Void
  let monitor: any GuestMonitor
  /// For when the other one stands still.
  let emergency: any GuestMonitor
  /// What can be protected.
  public let assessment: Assessment
  let packets: any PacketGate
  /// The attempt in which a standby has said that packets are to wait.
  let holding = Monitor(0)
  /// What the migration's settings were.
  let before: GuestFacts
  let wishes = Monitor(CheckpointWish.none)
  let tuning: Monitor<ProtectTuning>
  /// Whether there may be a standby that has the guest, and was not made sure of.
  let isStandbyGiven: Monitor<Bool>
  /// The line to a standby that was lost, until it was told what becomes of the guest.
  let parting = Mutex<StandbyControl?>(nil)
  private let threads = ThreadGroup()
  private let isDone = Monitor(false)

  /// Connects to the guest's monitor and looks at it. Changes nothing.
  ///
  /// - Parameters:
  ///   - options: what is to be done.
  ///   - log: gets a line where something happens.
  public init(
    _ options: ProtectOptions, log: @escaping @Sendable (String) -> Void
  ) throws(Failure) {
    self.options = options
    self.log = log
    tuning = Monitor(
      ProtectTuning(checkpoint: options.checkpoint, maxBandwidth: options.maxBandwidth))
    // Before anything is asked of anybody.
    _ = try options.standbyTLS()
    // The line needs the disks, which the monitor tells; its events come before.
    let early = Mutex<ProtectState?>(nil)
    let handle: @Sendable (QMPEvent) -> Void = { event in
      early.withLock { $0 }?.handle(event)
    }
    let onEnd: @Sendable (String) -> Void = { why in
      early.withLock { $0 }?.end(.gone(.gone("qemu", why)))
    }
    let silence = options.silence
    switch options.monitor {
    case .socket(let endpoint):
      monitor = try QMPSocket(endpoint, within: silence, onEvent: handle, onEnd: onEnd)
    case .command(let command): monitor = QMPCommand(command)
    }
    let tellsEvents = monitor.tellsEvents
    emergency =
      try options.outOfBand.map { endpoint throws(Failure) in
        // What the first does not tell the other one does.
        tellsEvents
          ? try QMPSocket(endpoint, within: silence)
          : try QMPSocket(endpoint, within: silence, onEvent: handle, onEnd: onEnd)
      } ?? monitor
    before = try Self.look(monitor, options)
    assessment = Assessment(before, options)
    isStandbyGiven = Monitor(before.mayBeAtStandby)
    state = ProtectState(ProtectLine(assessment.disks))
    packets =
      assessment.nets.isEmpty
      ? NoPackets()
      : HeldPackets(
        assessment.nets, sockets: options.sockets, linger: options.linger / 1000
      ) { [wishes] in
        wishes.wishForOne()
      } onFailure: { [state] failure in
        state.end(.lost(failure))
      }
    early.withLock { $0 = state }
  }

  /// A QEMU with much to do may miss one of the questions, and one that is protected must not stay
  /// without this process because of it.
  private static func look(
    _ monitor: any GuestMonitor, _ options: ProtectOptions
  ) throws(Failure) -> GuestFacts {
    let deadline = ContinuousClock.now + .seconds(options.patience)
    while true {
      do { return try GuestFacts(asking: monitor, within: options.silence) } catch {
        guard error.kind == .silent, .now < deadline else { throw error.failure }
        Pause.short()
      }
    }
  }

  /// What it is doing now.
  public var status: RoleStatus {
    let line = state.line
    var status = RoleStatus(.protect, phase: line.state.rawValue)
    status.ram = line.total.map { UInt64(clamping: $0) }
    status.remaining = line.remaining.map { UInt64(clamping: $0) }
    status.failoverReady = line.state == .protected
    status.nets = packets.lines.map { net in
      RoleStatus.Net(
        id: net.id, held: net.held, bytes: net.bytes, released: net.released, dropped: net.dropped)
    }
    status.losses = state.losses
    status.error = line.reason
    return status
  }

  /// Has QEMU take a checkpoint soon.
  public func askForCheckpoint() { wishes.wishForOne() }

  /// Looks at the standby too, without beginning anything.
  public func compared() -> Assessment {
    var assessment = assessment
    do {
      let tls = try options.standbyTLS()
      do throws(Failure) { try tls?.look(monitor, within: options.silence) } catch {
        assessment.missCredentials(error)
      }
      let control = try StandbyControl(
        lookingAt: options.standby, tls: tls?.credentials, silence: options.silence)
      defer { control.cut() }
      assessment.compare(with: control.status.disks.map { ($0.name, $0.size) })
    } catch { assessment.missStandby(error) }
    return assessment
  }

  /// Ends it, and leaves everything as it is.
  public func cancel(_ kind: Failure.Kind, _ why: String) {
    state.end(.cancelled(Failure(kind, "protect", why)))
  }

  /// Protects, until the guest ends, or the standby is lost and is not to be waited for.
  ///
  /// - Parameter onLine: how it stands, once a second.
  /// - Returns: why the guest has ended.
  public func run(onLine: @escaping @Sendable (ProtectLine) -> Void) throws(Failure) -> String {
    if let refusal = assessment.refusal {
      // What a process before this one has left standing does not stand for that.
      if before.isHeldByProtect, !before.isMigrating {
        do { try StandingGuest.goOn(monitor, within: options.silence) } catch {
          log("the guest stands still, and cannot be let go on: \(error)")
        }
      }
      throw refusal
    }
    do {
      try threads.start("line") { [state, isDone, packets] in
        while isDone.wait(seconds: 1, { $0 ? () : nil }) == nil {
          state.show { $0.nets = packets.lines }
          onLine(state.line)
        }
      }
      try threads.start("checkpoints") { [self] in askForCheckpoints() }
    } catch { throw Failure(error, at: "protect") }
    defer {
      isDone.update { $0 = true }
      wishes.update { $0 = .end }
      threads.joinAll()
    }
    while true {
      do throws(ProtectEnd) {
        try attempt()
      } catch {
        switch error {
        case .ended(let reason):
          // A QEMU that stays (-no-shutdown) may start it again, and it must not be mute then.
          try? takePacketsOut()
          return reason
        case .gone(let failure): throw failure
        case .cancelled(let failure):
          leavePackets()
          leaveSettings()
          throw failure
        // What was noticed first has brought about the rest.
        case .lost(let failure): try lost(state.loss ?? failure)
        }
      }
    }
  }

  /// Ends a protection that is there, whoever began it: the standby is told, so that it revives
  /// nobody, and the guest goes on alone. What is not there need not be.
  public func stop() throws(Failure) {
    let control = try? StandbyControl(
      lookingAt: options.standby, tls: options.standbyTLS()?.credentials, silence: options.silence)
    defer { control?.cut() }
    let isTold = (try? control?.takePlace()) != nil
    if isTold {
      control?.sendEnded("its protection was ended")
    } else {
      log("the standby does not answer, and is not told")
    }
    do throws(ProtectEnd) {
      if !isTold {
        try fence(Failure(.unreachable, "standby", "it is not told that its protection ends"))
      }
      try letGo(keepsMirrors: false, hangs: true)
    } catch {
      // What was said was too early: the standby is needed yet.
      if isTold { control?.sendEnded("") }
      throw error.failure
    }
    do { try HeldPackets.takeAllOut(monitor, within: options.silence) } catch {
      throw Failure(error, at: "protect")
    }
  }

  /// All else stays as it is, but a holder that is gone would keep the guest's packets for ever.
  private func leavePackets() {
    guard !assessment.nets.isEmpty else { return }
    guard state.line.state != .fencing else {
      return log("the standby may go on with the guest: its packets wait for another protect")
    }
    do {
      try takePacketsOut()
      log("packets leave at once until another protect takes over")
    } catch { log("filters are left: \(error)") }
  }

  private func takePacketsOut() throws(MonitorError) {
    packets.letThrough()
    try packets.takeOut(monitor, within: options.silence)
  }

  /// A guest that is alone may be migrated as any other, and that must not become COLO. Its mirrors
  /// stay: they know what the next standby lacks.
  private func leaveSettings() {
    guard state.line.state != .fencing,
      let status = try? monitor.execute("query-migrate", within: options.silence)["status"],
      ["", "none", "completed", "failed", "cancelled"].contains(status.string ?? "")
    else { return }
    do { try restoreSettings() } catch { log("settings are left: \(error.failure)") }
  }

  /// The guest goes on alone.
  private func lost(_ failure: Failure) throws(Failure) {
    defer { part() }
    let isGiven = isStandbyGiven.read { $0 }
    do { try fence(failure) } catch {
      // What has ended all of it the next attempt says.
      state.end(error)
      return
    }
    let (since, isNew) = state.lose(failure.description)
    do {
      try letGo(keepsMirrors: options.retries, hangs: failure.mayHang) {
        part(saying: isGiven ? failure.description : nil)
      }
    } catch {
      switch error {
      // Of a guest that has ended the next attempt says so.
      case .ended: break
      // And it tries again what was left.
      case .lost(let failure) where options.retries: log("the guest is not let go of: \(failure)")
      case .lost, .gone, .cancelled: throw error.failure
      }
    }
    let time = Date(timeIntervalSince1970: since).formatted(.iso8601)
    let why = "unprotected since \(time): \(failure.description)"
    guard options.retries else {
      let kind = failure.kind == .failed ? .unreachable : failure.kind
      throw Failure(kind, "protect", why, hint: failure.hint)
    }
    if isNew { log(why) }
    state.pause(seconds: 1)
  }
}

extension Assessment {
  /// The first of what makes it impossible, for those who did not ask for all of it.
  var refusal: Failure? {
    let all = findings.filter { $0.verdict == .impossible }
    guard let first = all.first else { return nil }
    let more = all.count > 1 ? " (and \(all.count - 1) more: --dry-run)" : ""
    return Failure(.refused, first.subject, first.why + more, hint: first.change)
  }
}
