import COLO
import Foundation
import Glibc
import Memory
import Migration
import Store
import System
import Transport

/// A stock QEMU continues a guest from a store, on the RAM that is already there.
///
///     the store is opened and locked, the command checked -> fence (must exit 0)
///       -> QEMU maps the RAM files, -incoming defer, says what blocks it has
///       -> gets the block list and the blocks that it has not mapped over a UNIX socket, acknowledges them
///       -> the store says "handing-over" -> device state -> QEMU says SHUT 0, runs -> "handed-over"
///
/// Its time does not grow with the guest: nothing of the mapped RAM is read, copied or sent.
///
/// QEMU starts the guest *before* it says SHUT 0, on the store's own pages. So from the devices' first byte
/// on only its explicit "no" makes the guest ours again; without an answer the RAM may have moved on.
public final class Failover: Sendable {
  struct Control {
    var stop: Failure?
    /// What a signal would have to end.
    var child: Child?
    /// QEMU could start the guest: too late for a signal.
    var isFed = false
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

  /// Ends it from outside, before or while it runs: a signal. The fence is killed, or a QEMU that could not
  /// have started the guest, and the store says what it said before. Later than that it does nothing: how
  /// the failover ends is known within the time-out.
  public func cancel(_ kind: Failure.Kind, _ why: String) {
    let isFed = control.update { control in
      if !control.isFed {
        if control.stop == nil { control.stop = Failure(kind, "failover", why) }
        control.child?.kill()
      }
      return control.isFed
    }
    if isFed { log("QEMU has the guest already; waiting for its answer") }
  }

  /// Continues the guest.
  ///
  /// - Parameter spare: a QEMU that waits already.
  public func run(spare: SpareQEMU? = nil) throws(Failure) -> FailoverSummary {
    var hasGuest = false
    do {
      try options.check()
      // Locked from here on: a store that is wrong, or in use, must not cost a primary its life.
      let guest = try HeldGuest(openingStore: options.store, force: options.force)
      _ = try QEMUCommandLine(
        options.command, store: options.store, blocks: guest.manifest.blocks, qmp: "qmp")
      if spare == nil { try SpareRecord.endOrphan(of: try absolute(options.store), log: log) }
      try fence()
      let start = ContinuousClock.now
      if let number = guest.checkpoint {
        guest.store.note(state: "\(StandbyState.failingOver(number))")
      }
      let (qemu, loadTime) = try feed(guest, spare)
      hasGuest = true
      return finish(guest, qemu, start, loadTime)
    } catch {
      // A spare that has got nothing would wait for ever.
      if let spare, !hasGuest { spare.kill() }
      // A signal has ended what the error tells of.
      throw control.read { $0.stop } ?? Failure(error, at: "failover")
    }
  }

  private func absolute(_ path: String) throws -> String {
    guard let real = realpath(path, nil) else { throw SystemError("realpath") }
    defer { free(real) }
    return String(cString: real)
  }

  /// From here on a signal ends the child.
  func adopt(_ child: Child) throws {
    try control.update { control in
      if let stop = control.stop { return Result<Void, any Error>.failure(stop) }
      control.child = child
      return .success(())
    }.get()
  }

  private func fence() throws {
    if let stop = control.read({ $0.stop }) { throw stop }
    guard let command = options.fence else { return }
    try Fence(command: command, timeout: options.fenceTimeout).run(started: adopt)
    log("fence: '\(command)' succeeded")
  }

  /// Gives the guest to the spare or, if that has come to nothing, to a QEMU of its own.
  ///
  /// - Returns: the QEMU, and in how many milliseconds it was fed.
  private func feed(_ guest: HeldGuest, _ spare: SpareQEMU?) throws -> (SpareQEMU, Double) {
    do {
      if let spare {
        do {
          try adopt(spare.child)
          try spare.expectWaiting(for: guest.manifest)
          return (spare, try load(guest, into: spare))
        } catch {
          guard control.read({ !$0.isFed && $0.stop == nil }) else { throw error }
          log("the spare QEMU cannot be used (\(error)); starting another")
          spare.kill()
        }
      }
      let path = try absolute(options.store)
      try SpareRecord.endOrphan(of: path, log: log)
      let process = try WaitingQEMU(
        options, store: path, blocks: guest.manifest.blocks, isRehearsal: false, log: log,
        started: adopt)
      let qemu = try SpareQEMU(process, guest.manifest, earlyState: guest.earlyState, pages: nil)
      return (qemu, try load(guest, into: qemu))
    } catch {
      if let number = guest.checkpoint, control.read({ !$0.isFed }) {
        guest.store.note(state: "\(StandbyState.lost(number))")
      }
      throw error
    }
  }

  private func load(_ guest: HeldGuest, into qemu: SpareQEMU) throws -> Double {
    let start = ContinuousClock.now
    do {
      try qemu.loadRAM(of: guest)
      try begin(guest, qemu)
      try qemu.loadDevices(of: guest)
    } catch {
      let failure = Failure(error, at: "failover")
      // Its answer is lost, not the guest.
      if control.read({ $0.isFed }), failure.cause != .refusedByDestination, qemu.hasGuest() {
        log("QEMU has not answered (\(failure)), but its monitor says that the guest runs")
      } else {
        qemu.kill()
        guard control.read({ $0.isFed }) else { throw error }
        throw try settle(failure, guest)
      }
    }
    return (ContinuousClock.now - start) / .milliseconds(1)
  }

  /// The devices are about to be sent.
  private func begin(_ guest: HeldGuest, _ qemu: SpareQEMU) throws {
    var manifest = guest.manifest
    manifest.state = .handingOver
    manifest.handedOverTo = "failover on this machine"
    do {
      try guest.store.write(manifest)
      let stop = control.update { control in
        if control.stop == nil { control.isFed = true }
        return control.stop
      }
      if let stop { throw stop }
    } catch {
      try? guest.store.write(guest.manifest)
      throw error
    }
    qemu.disown()
  }

  /// What the store says when QEMU was fed and the guest does not run for certain. QEMU is dead.
  private func settle(_ failure: Failure, _ guest: HeldGuest) throws -> Failure {
    var failure = failure
    guard failure.cause == .refusedByDestination else {
      failure.why += "; QEMU was killed, but may have run the guest: its RAM may have moved on"
      failure.hint =
        "if QEMU's own words say that it could not load the guest, it is whole: try again with --force"
      return failure
    }
    // It never ran: the guest is ours as before.
    try guest.store.write(guest.manifest)
    control.update { $0.isFed = false }
    return failure
  }

  /// The guest runs. What goes wrong now changes nothing about that.
  private func finish(
    _ guest: HeldGuest, _ qemu: SpareQEMU, _ start: ContinuousClock.Instant, _ loadTime: Double
  ) -> FailoverSummary {
    var manifest = guest.manifest
    manifest.state = .handedOver
    manifest.failedOver = true
    manifest.handedOverTo = "failover to pid \(qemu.pid) at \(Date.now.formatted(.iso8601))"
    do { try guest.store.write(manifest) } catch {
      log("the guest runs, but the store cannot say so: \(error)")
    }
    guest.store.note(state: "used")
    var status = "unknown"
    do {
      status = try qemu.waitUntilRunning()
    } catch {
      log("the guest was loaded, but QEMU's monitor fails: \(error)")
    }
    return FailoverSummary(
      pid: qemu.pid, checkpoint: guest.checkpoint,
      totalTime: (ContinuousClock.now - start) / .milliseconds(1), loadTime: loadTime,
      status: status, mapped: qemu.mapped)
  }
}
