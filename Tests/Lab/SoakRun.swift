import Foundation
import TestSupport

/// One guest after the other, with what happens to each.
struct SoakRun {
  private(set) var table: SoakTable
  private let seed: UInt64
  private let cable: Cable
  private let remains: Remains
  private let keep: String?

  init(seed: UInt64, cable: Cable, _ remains: Remains, keep: String?) {
    (self.seed, self.cable, self.remains, self.keep) = (seed, cable, remains, keep)
    table = SoakTable()
  }

  /// Plays a guest from its start to its end.
  mutating func play(_ number: Int) {
    let plan = FaultPlan(seed: seed, guest: number, hasRoom: SmallFileSystem.isAvailable)
    table.begin(number, plan)
    var tally = ProcessTally()
    var (fault, isBroken) = ("start", false)
    do {
      var setup = WholeGuest.Setup()
      (setup.way, setup.delay, setup.onLoss) = (.protect, plan.delay, plan.onLoss)
      if plan.isAdaptive { setup.checkpoint = "5ms..10s" }
      (setup.channels, setup.cable, setup.records) = (plan.channels, cable, keep != nil)
      setup.room = SmallFileSystem.isAvailable ? Self.room : nil
      cable.set(Cable.Weather())
      let guest = try WholeGuest(setup)
      defer {
        guest.end()
        tally.close()
      }
      do {
        for step in plan.steps {
          fault = step.fault.kind
          try wait(guest, plan, step.moment)
          let survival = try guest.suffer(step)
          try tally.look(at: guest)
          table.add(step, survival, guest.checkpoint)
        }
        fault = "lost: \(plan.loss)"
        try wait(guest, plan, plan.delay / 2)
        var random = SeededGenerator(seed: seed &+ UInt64(number))
        table.add(plan.loss, try guest.lose(plan.loss, &random))
      } catch {
        try keep(guest)
        throw error
      }
    } catch {
      isBroken = true
      table.fail(fault, error)
    }
    cable.set(Cable.Weather())
    do { try remains.expectNone(killed: isBroken) } catch { table.fail("remains", error) }
    for line in tally.lines { note("  \(line)") }
  }

  /// MiB for the logs of a standby's disks.
  private static let room = 64

  /// Until checkpoints have been taken, and then somewhere between two of them.
  private func wait(_ guest: WholeGuest, _ plan: FaultPlan, _ moment: Int) throws {
    let (first, losses) = (guest.checkpoint, guest.losses)
    try guest.waitCheckpoint(first + max(3, (plan.isAdaptive ? 500 : 1500) / plan.delay))
    Thread.sleep(forTimeInterval: Double(moment) / 1000)
    guard guest.losses == losses else {
      throw Inconsistency("a standby that was there was given up: \(guest.complaints)")
    }
  }

  private func keep(_ guest: WholeGuest) throws {
    guard let keep else { return }
    let path = "\(keep)/\(UInt64(Date().timeIntervalSince1970))"
    try guest.keep(in: path)
    note("kept in \(path)")
  }
}
