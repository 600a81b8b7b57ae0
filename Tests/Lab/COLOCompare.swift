import TestSupport

extension COLOCell {
  /// 7.2 and 10.0 under TCG now and then do not notice that their guest has written a page, and do
  /// not send it: seen by comparing a stopped primary's memory with what it sent. Such a primary is
  /// held in its first checkpoint, so that what it lost can be told from what a standby would lose.
  var mayLoseWrites: Bool { source < .v111 && compression == "none" }

  /// Holds the guest in a checkpoint: the store must have all of its memory that was sent, byte for
  /// byte. Then kills the primary and lets the guest go on.
  func compareMemory(_ primary: QEMU) throws -> Outcome {
    let number = mayStall ? 1 : checkpoints
    // COLO starts the guest in any case.
    if source == .v72 { try primary.qmp.execute("stop") }
    let protection = try Protection(
      primary, setup, cache: cache, onLoss: onLoss, heldAt: number)
    defer { protection.end() }
    primary.setLoad(rate: rate)
    try protection.waitSpare()
    try protection.waitStored(number, patience)
    let lost = try protection.pagesNeverSent(primary)
    guard lost == 0 || mayLoseWrites else {
      throw LabError("\(lost) pages differ from the stopped primary's")
    }
    var outcome = Outcome()
    outcome.reached = number
    let survivor = try protection.failOver()
    outcome.take(protection, survivor)
    outcome.remark = "equal"
    if lost > 0 {
      outcome.remark = "QEMU \(source) did not send \(lost) pages that its guest wrote"
    }
    do { outcome.pages = try check(protection, survivor) } catch {
      // Without those pages the guest may well be damaged: that it was not is no merit of the
      // standby.
      guard lost > 0 else { throw error }
      outcome.remark += ", which damaged the guest"
    }
    return outcome
  }
}
