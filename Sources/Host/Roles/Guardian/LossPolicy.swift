import Store
import Transport

/// What a standby has promised for the day on which its primary is lost. Lives in the guardian, so that nothing that
/// becomes of the worker can take it along.
public final class LossPolicy: Sendable {
  /// What is to be done with the guest.
  public enum Action: String, CaseIterable, Sendable {
    /// It stays in the store.
    case hold
    /// A QEMU goes on with it.
    case failover
  }

  private enum Spare {
    /// Nobody has asked for one.
    case none
    /// It is being started.
    case starting
    case waits(SpareQEMU)
    case failed
  }

  private let action: Action
  private let options: FailoverOptions
  private let wantsSpare: Bool
  private let failover: Failover
  private let log: @Sendable (String) -> Void
  private let spare = Monitor(Spare.none)
  private let threads = ThreadGroup()

  /// A promise.
  ///
  /// - Parameters:
  ///   - wantsSpare: the QEMU is started when the guest is there, and waits.
  ///   - log: gets a line for everything that happens.
  public init(
    _ action: Action, _ options: FailoverOptions, wantsSpare: Bool,
    log: @escaping @Sendable (String) -> Void
  ) {
    self.action = action
    self.options = options
    self.wantsSpare = wantsSpare
    self.log = log
    failover = Failover(options, log: log)
  }

  /// Calls a failover off, see ``Failover/cancel(_:_:)``.
  public func cancel(_ exit: ExitCode, _ why: String) { failover.cancel(exit, why) }

  /// The guest is in the store as of the end of precopy. Returns at once: checkpoints go on meanwhile.
  public func ready() {
    guard wantsSpare else { return }
    spare.update { $0 = .starting }
    do {
      try threads.start("spare") { [self] in
        let made = Result { try makeSpare() }
        if case .failure(let error) = made { log("no spare QEMU: \(error)") }
        spare.update { $0 = (try? made.get()).map(Spare.waits) ?? .failed }
      }
    } catch {
      log("no spare QEMU: \(error)")
      spare.update { $0 = .failed }
    }
  }

  private func makeSpare() throws -> SpareQEMU {
    let blocks = try Store.status(of: options.store).manifest?.blocks ?? []
    let qemu = try failover.makeSpare(blocks)
    log("spare QEMU waits, pid \(qemu.pid)")
    return qemu
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
    guard isLoss(cause, primaryStands: primaryStands) else {
      takeSpare()?.kill()
      return nil
    }
    log("the primary is lost: \(cause)")
    return try failover.run(spare: takeSpare())
  }

  /// A primary that sends what cannot be, or a full disk here, is no lost primary: it runs on. Where this side is at
  /// fault its guest stands still if it was in a checkpoint, and else goes on: then only a fence lets another begin.
  private func isLoss(_ cause: Failure, primaryStands: Bool) -> Bool {
    guard action == .failover else { return false }
    switch cause.cause {
    case .peerIsGone: return true
    case .workerFailed: return primaryStands || options.fence != nil
    case .peerLives, .other, .refusedByDestination: return false
    }
  }

  private func takeSpare() -> SpareQEMU? {
    // It has its own time limits, and it is the quickest way.
    spare.wait(seconds: nil) { spare -> SpareQEMU?? in
      switch spare {
      case .starting: return nil
      case .none, .failed: return .some(nil)
      case .waits(let qemu):
        spare = .none
        return .some(qemu)
      }
    } ?? nil
  }
}
