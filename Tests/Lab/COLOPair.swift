import Foundation
import TestSupport

extension COLOCell {
  /// Protects a guest by a stock secondary behind two relays, kills the primary at a random moment
  /// and checks the survivor.
  func protectByStock(_ primary: QEMU, _ random: inout some RandomNumberGenerator) throws -> Outcome
  {
    let pair = try StockPair(primary, setup, through: relays)
    defer { pair.end() }
    primary.setLoad(rate: rate)
    var outcome = Outcome()
    outcome.reached = pair.session.waitCheckpoints(checkpoints, patience)
    guard outcome.reached >= checkpoints else {
      throw LabError("only \(outcome.reached) checkpoints in \(patience): \(pair.complaints)")
    }
    Thread.sleep(forTimeInterval: Double.random(in: 0...Double(delay + 60) / 1000, using: &random))
    outcome.pauses = pair.session.pauses
    outcome.pages = try pair.failOver()
    return outcome
  }
}
