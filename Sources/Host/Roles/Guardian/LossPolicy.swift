import Migration
import Store
import System
import Transport

/// What a standby has promised for the day on which its primary is lost. Lives in the guardian, so
/// that nothing that becomes of the worker can take it along.
public final class LossPolicy: Sendable {
  /// What is to be done with the guest.
  public enum Action: String, CaseIterable, Sendable {
    /// It stays in the store.
    case hold
    /// A QEMU goes on with it.
    case failover
  }

  private enum Spare {
    /// There is none.
    case none
    /// It is being started, or a rehearsal is going on.
    case starting
    case waits(Handed)
  }

  /// A QEMU on its way from the thread that has started it to the one that uses it: the first lets
  /// go of it when the second can have it, so one thread at a time has it.
  private struct Handed: @unchecked Sendable { let qemu: SpareQEMU }

  private let action: Action
  private let options: FailoverOptions
  private let wantsSpare: Bool
  private let failover: Failover
  /// Apart from the failover, so that it can be called off for it.
  private let rehearsal: Failover
  private let log: @Sendable (String) -> Void
  private let onRehearsal: @Sendable (Rehearsal) -> Void
  private let spare = Monitor(Spare.none)
  /// No more checkpoints will come.
  private let isSettled = Monitor(false)
  private let threads = ThreadGroup()
  private let standstill = Standstill()
  /// For how long this process must not have stood still before it finds a worker dead that can
  /// give no account of its own, seconds.
  private static let awake = 10.0

  /// A promise.
  ///
  /// - Parameters:
  ///   - wantsSpare: the QEMU is started when the guest is there, and waits.
  ///   - log: gets a line for everything that happens.
  ///   - onRehearsal: gets the verdict of the rehearsal, from another thread.
  public init(
    _ action: Action, _ options: FailoverOptions, wantsSpare: Bool,
    log: @escaping @Sendable (String) -> Void,
    onRehearsal: @escaping @Sendable (Rehearsal) -> Void
  ) {
    self.action = action
    self.options = options
    self.wantsSpare = wantsSpare
    self.log = log
    self.onRehearsal = onRehearsal
    failover = Failover(options, log: log)
    let quiet: @Sendable (String) -> Void = { _ in }
    rehearsal = Failover(options, log: wantsSpare ? log : quiet)
  }

  /// Calls a failover off, see ``Failover/cancel(_:_:)``.
  public func cancel(_ kind: Failure.Kind, _ why: String) {
    rehearsal.cancel(kind, why)
    failover.cancel(kind, why)
  }

  /// The guest is in the store as of the end of precopy: tries whether the promise can be kept, and
  /// gets the spare ready. Returns at once: checkpoints go on meanwhile.
  public func ready() {
    guard wantsSpare || action == .failover else { return }
    spare.update { $0 = .starting }
    do {
      try threads.start("rehearsal") { [self] in
        let made = rehearse().map(Handed.init)
        let isWanted = spare.update { spare in
          guard case .starting = spare else { return false }
          spare = made.map { .waits($0) } ?? .none
          return true
        }
        if !isWanted { made?.qemu.kill() }
      }
    } catch {
      log("the failover could not be rehearsed: \(error)")
      spare.update { $0 = .none }
    }
  }

  /// - Returns: the QEMU that waits, if one is to.
  private func rehearse() -> SpareQEMU? {
    do throws(Failure) {
      guard wantsSpare else {
        onRehearsal(try rehearsal.rehearse())
        return nil
      }
      let qemu = try rehearsal.makeSpare()
      onRehearsal(qemu.rehearsal)
      log("spare QEMU waits, pid \(qemu.pid)")
      return qemu
    } catch {
      // One that was called off has nothing to say.
      if !isSettled.read({ $0 }) {
        onRehearsal(Rehearsal(error))
        if wantsSpare { log("no spare QEMU waits") }
      }
      return nil
    }
  }

  /// The primary is lost, or the worker: does what was promised.
  ///
  /// - Parameters:
  ///   - cause: why there are no more checkpoints.
  ///   - primaryStands: the primary's guest was waiting for the worker when that ended.
  /// - Returns: the failover that was made; nil if the guest stays in the store.
  public func settle(
    _ cause: Failure, primaryStands: Bool
  ) throws(Failure) -> FailoverSummary? {
    isSettled.update { $0 = true }
    let isLoss = isLoss(cause, primaryStands: primaryStands)
    // Of what is still being started, only a spare is worth waiting for, and only for a failover.
    if !isLoss || !wantsSpare { rehearsal.cancel(.failed, "the standby has ended") }
    guard isLoss else {
      takeSpare()?.kill()
      return nil
    }
    log("the primary is lost: \(cause)")
    let since = ContinuousClock.now - .seconds(cause.cause == .workerFailed ? Self.awake : 0)
    return try failover.run(spare: takeSpare()) { [standstill] in
      if let failure = Failure.stoodStill(for: standstill.longest(since: since)) { throw failure }
    }
  }

  /// A primary that sends what cannot be, or a full disk here, is no lost primary: it runs on.
  /// Where this side is at fault its guest stands still if it was in a checkpoint, and else goes
  /// on: then only a fence lets another begin.
  private func isLoss(_ cause: Failure, primaryStands: Bool) -> Bool {
    guard action == .failover else { return false }
    switch cause.cause {
    case .peerIsGone: return true
    case .workerFailed: return primaryStands || options.fence != nil
    case .peerLives, .other, .refusedByDestination: return false
    }
  }

  private func takeSpare() -> SpareQEMU? {
    // One that is just being started is the quickest way, unless it hangs.
    _ = spare.wait(seconds: options.timeout) { spare -> Void? in
      if case .starting = spare { nil } else { () }
    }
    // Nobody takes one that comes later.
    let last = spare.update { spare in
      defer { spare = .none }
      return spare
    }
    switch last {
    case .none: return nil
    case .waits(let handed): return handed.qemu
    case .starting:
      rehearsal.cancel(.failed, "it has taken too long")
      return nil
    }
  }
}
