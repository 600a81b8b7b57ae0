import Migration
import Store
import System

/// A failover up to the devices: to be ready for it, or to know whether it will work.
extension Failover {
  /// Starts a QEMU that waits: it has mapped the RAM files of the store and has taken all but the
  /// devices. The store may be in use: it is not locked, and nothing of the guest is changed.
  ///
  /// Its ``SpareQEMU/rehearsal``, or why there is none, is written into the store. From here on it
  /// is the caller's to end: ``cancel(_:_:)`` of this one does not.
  public func makeSpare() throws(Failure) -> SpareQEMU {
    let qemu = try looking { look in
      try SpareRecord.endOrphan(of: look.path, log: log)
      return try start(look, isRehearsal: false)
    }
    // Whoever fails over with it has its own word on when it may be ended.
    let stop = control.update { control in
      control.child = nil
      return control.stop
    }
    guard let stop else { return qemu }
    qemu.kill()
    throw stop
  }

  /// Plays the failover up to the devices, in a QEMU that is ended then. The store may be in use:
  /// it is not locked, and nothing of the guest is changed. The fence is not run.
  ///
  /// - Returns: whether it fits, and if not, why not: also written into the store.
  /// - Throws: when there is no guest that could be continued, or a signal has ended it.
  public func rehearse() throws(Failure) -> Rehearsal {
    var failed: Rehearsal?
    do throws(Failure) {
      return try looking(failed: { failed = $0 }) { look in
        let qemu = try start(look, isRehearsal: true)
        qemu.kill()
        return qemu
      }.rehearsal
    } catch {
      guard let failed else { throw error }
      return failed
    }
  }

  /// Looks at the store, does what `body` says, and writes down how that went.
  private func looking(
    failed: (Rehearsal) -> Void = { _ in }, _ body: (Store.Look) throws -> SpareQEMU
  ) throws(Failure) -> SpareQEMU {
    try options.check()
    let look: Store.Look
    do { look = try Store.Look(at: options.store, handedOver: options.force) } catch {
      throw Failure(error, at: "failover")
    }
    let begun = ContinuousClock.now
    do {
      let qemu = try body(look)
      qemu.rehearsal.note(in: look)
      return qemu
    } catch {
      if let stop = control.read({ $0.stop }) { throw stop }
      let failure = Failure(error, at: "failover")
      let rehearsal = Rehearsal(failure, time: (ContinuousClock.now - begun) / .milliseconds(1))
      rehearsal.note(in: look)
      failed(rehearsal)
      throw failure
    }
  }

  private func start(_ look: Store.Look, isRehearsal: Bool) throws -> SpareQEMU {
    let process = try WaitingQEMU(
      options, store: look.path, blocks: look.manifest.blocks, isRehearsal: isRehearsal, log: log,
      started: adopt)
    return try SpareQEMU(
      process, look.manifest, earlyState: look.earlyState, pages: look.openBlock)
  }
}
