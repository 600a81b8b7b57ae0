// Failover: a stock QEMU continues a guest on the store's own files.

import COLO
import Foundation
import Glibc
import Migration
import Store
import System

/// A stock QEMU continues a guest from a store, on the RAM that is already there.
///
///     the store and its disks are opened and locked, the command checked -> fence (must exit 0)
///       -> the disks are brought to the checkpoint
///       -> QEMU maps the RAM files, -incoming defer, says what blocks it has
///       -> gets the block list and the blocks that it has not mapped over a UNIX socket, acknowledges them
///       -> the store says "handing-over" -> device state -> QEMU says SHUT 0, runs -> "handed-over"
///
/// Its time does not grow with the guest: nothing of the mapped RAM is read, copied or sent.
///
/// QEMU starts the guest *before* it says SHUT 0, on the store's own pages. So from the devices'
/// first byte on only its explicit "no" makes the guest ours again; without an answer the RAM may
/// have moved on.
public final class Failover: Sendable {
  struct Control {
    var stop: Failure?
    /// What a signal would have to end.
    var child: Child?
    /// QEMU could start the guest: too late for a signal.
    var isFed = false
    /// A signal that came too late: if QEMU does not take the guest, no other is to get it.
    var late: Failure?
  }

  let options: FailoverOptions
  let log: @Sendable (String) -> Void
  let control = Monitor(Control())

  /// A failover that has not begun.
  ///
  /// - Parameter log: gets a line for everything that happens, QEMU's events among them.
  public init(_ options: FailoverOptions, log: @escaping @Sendable (String) -> Void) {
    self.options = options
    self.log = log
  }

  /// Ends it from outside, before or while it runs: a signal. The fence is killed, or a QEMU that
  /// could not have started the guest, and the store says what it said before. Later than that it
  /// does nothing: how the failover ends is known within the time-out.
  public func cancel(_ kind: Failure.Kind, _ why: String) {
    let isFed = control.update { control in
      let stop = Failure(kind, "failover", why)
      if control.isFed {
        control.late = control.late ?? stop
      } else {
        control.stop = control.stop ?? stop
        control.child?.kill()
      }
      return control.isFed
    }
    if isFed { log("QEMU has the guest already; waiting for its answer") }
  }

  /// Continues the guest.
  ///
  /// - Parameters:
  ///   - spare: a QEMU that waits already.
  ///   - confirm: the last word before the fence.
  public func run(
    spare: SpareQEMU? = nil, confirm: () throws -> Void = {}
  ) throws(Failure) -> FailoverSummary {
    var hasGuest = false
    do {
      try options.check()
      // Locked from here on: a store that is wrong, or in use, must not cost a primary its life.
      var start = ContinuousClock.now
      let guest = try HeldGuest(openingStore: options.store, force: options.force) { guest in
        _ = try QEMUCommandLine(
          options.command, store: options.store, blocks: guest.manifest.blocks, qmp: "qmp")
        if spare == nil { try SpareRecord.endOrphan(of: try realPath(options.store), log: log) }
        try confirm()
        try fence(guest)
        start = .now
      }
      var activity = guest.checkpoint.map { StandbyState.lost($0) }
      guest.store.advance(&activity) { .failingOver($0) }
      let (qemu, loadTime): (SpareQEMU, Double)
      do { (qemu, loadTime) = try feed(guest, spare) } catch {
        if control.read({ !$0.isFed }) { guest.store.advance(&activity) { .lost($0) } }
        throw error
      }
      hasGuest = true
      return finish(guest, qemu, start, loadTime)
    } catch {
      // A spare that has got nothing would wait for ever.
      if let spare, !hasGuest { spare.kill() }
      if let stuck = error as? StuckStore { throw stuck.failure }
      // A signal has ended what the error tells of.
      throw control.read { $0.stop } ?? Failure(error, at: "failover")
    }
  }

  /// Ends a spare QEMU that a standby which was killed has left waiting for a guest that is given
  /// up. Nothing where there is no store.
  public static func endSpare(of store: String, log: (String) -> Void) throws(Failure) {
    guard FileManager.default.fileExists(atPath: store) else { return }
    do { try SpareRecord.endOrphan(of: realPath(store), log: log) } catch {
      throw Failure(error, at: "failover")
    }
  }

  /// From here on a signal ends the child.
  func adopt(_ child: Child) throws {
    try control.update { control in
      if let stop = control.stop { return Result<Void, any Error>.failure(stop) }
      control.child = child
      return .success(())
    }.get()
  }

  private func fence(_ guest: HeldGuest) throws {
    if let stop = control.read({ $0.stop }) { throw stop }
    guard let command = options.fence else {
      // Of a guest that came whole nobody has another.
      if guest.checkpoint != nil {
        log("no fence: whoever started this answers for it that the primary's guest runs no more")
      }
      return
    }
    try Fence(
      command: command, timeout: options.fenceTimeout, peer: "primary",
      otherwise: "nothing is started"
    ).run(started: adopt)
    log("fence: '\(command)' succeeded")
  }

  /// Gives the guest to the spare or, if that has come to nothing, to a QEMU of its own.
  ///
  /// - Returns: the QEMU, and in how many milliseconds it was fed.
  private func feed(_ guest: HeldGuest, _ spare: SpareQEMU?) throws -> (SpareQEMU, Double) {
    if let spare {
      do {
        try adopt(spare.child)
        try spare.expectWaiting(for: guest.manifest)
        return (spare, try load(guest, into: spare))
      } catch {
        guard control.read({ !$0.isFed && $0.stop == nil }), !(error is StuckStore) else {
          throw error
        }
        log("the spare QEMU cannot be used (\(error)); starting another")
        spare.kill()
      }
    }
    let path = try realPath(options.store)
    try SpareRecord.endOrphan(of: path, log: log)
    let process = try WaitingQEMU(
      options, store: path, blocks: guest.manifest.blocks, isRehearsal: false, log: log,
      started: adopt)
    let qemu = try SpareQEMU(process, guest.manifest, earlyState: guest.earlyState, pages: nil)
    return (qemu, try load(guest, into: qemu))
  }

  /// Gives the guest to a QEMU, and says so.
  ///
  /// - Returns: in how many milliseconds.
  private func load(_ guest: HeldGuest, into qemu: SpareQEMU) throws -> Double {
    let start = ContinuousClock.now
    let handOver: HandOver
    do {
      try qemu.loadRAM(of: guest)
      handOver = try begin(guest, qemu)
    } catch {
      qemu.kill()
      throw error
    }
    do { try qemu.loadDevices(of: guest) } catch {
      let failure = Failure(error, at: "failover")
      guard failure.cause != .refusedByDestination, qemu.hasGuest() else {
        qemu.kill()
        throw try settle(handOver, failure)
      }
      // Its answer is lost, not the guest.
      log("QEMU has not answered (\(failure)), but its monitor says that the guest runs")
    }
    let time = (ContinuousClock.now - start) / .milliseconds(1)
    // The guest runs. What goes wrong now changes nothing about that.
    do { try handOver.taken(by: "failover to pid \(qemu.pid)", inPlace: true) } catch {
      log("the guest runs, but the store cannot say so: \(error)")
    }
    return time
  }

  /// The devices are about to be sent.
  private func begin(_ guest: HeldGuest, _ qemu: SpareQEMU) throws -> HandOver {
    let handOver: HandOver
    do throws(HandOver.NotBegun) {
      handOver = try guest.handOver(to: "failover on this machine")
    } catch {
      guard error.isAsBefore else { throw StuckStore(Failure(error.cause, at: "failover")) }
      throw error.cause
    }
    let stop = control.update { control in
      if control.stop == nil { control.isFed = true }
      return control.stop
    }
    if let stop {
      do { try handOver.refused() } catch { throw StuckStore(stop) }
      throw stop
    }
    qemu.disown()
    return handOver
  }

  /// Nobody has got the guest, and the store may say that a hand-over has begun: no other QEMU can
  /// have it.
  private struct StuckStore: Error {
    let failure: Failure

    init(_ failure: Failure) {
      var failure = failure
      failure.hint =
        "no QEMU has the guest; should the store say 'handing-over', try again with --force"
      self.failure = failure
    }
  }

  /// What the store says when QEMU was fed and the guest does not run for certain. QEMU is dead.
  private func settle(_ handOver: consuming HandOver, _ failure: Failure) throws -> Failure {
    var failure = failure
    guard failure.cause == .refusedByDestination else {
      handOver.unknown()
      failure.why += "; QEMU was killed, but may have run the guest: its RAM may have moved on"
      failure.hint =
        "if QEMU's own words say that it could not load the guest, it is whole: try again with --force"
      return failure
    }
    // It never ran: the guest is ours as before.
    control.update { control in
      control.isFed = false
      control.stop = control.stop ?? control.late
    }
    do { try handOver.refused() } catch { throw StuckStore(failure) }
    return failure
  }

  /// The guest runs.
  private func finish(
    _ guest: HeldGuest, _ qemu: SpareQEMU, _ start: ContinuousClock.Instant, _ loadTime: Double
  ) -> FailoverSummary {
    var status = "unknown"
    do {
      status = try qemu.waitUntilRunning(isProtected: guest.checkpoint != nil)
    } catch {
      log("the guest was loaded, but QEMU's monitor fails: \(error)")
    }
    return FailoverSummary(
      pid: qemu.pid, checkpoint: guest.checkpoint,
      totalTime: (ContinuousClock.now - start) / .milliseconds(1), loadTime: loadTime,
      status: status, mapped: qemu.mapped)
  }
}

extension Store {
  /// Says what is being done with a standby's guest; nothing where there is none.
  fileprivate func advance(_ activity: inout StandbyState?, _ next: (Int) -> StandbyState) {
    guard var state = activity, let number = state.lastCommitted else { return }
    guard state.advance(to: next(number)) else {
      return assertionFailure("a standby that is \(state) cannot be \(next(number))")
    }
    activity = state
    note(state: "\(state)")
  }
}
