import Foundation
import Results
import TestSupport

/// Kills primaries, for the page: how soon the guest answers at its standby, and what that took.
struct FailoverPart {
  private let version: QEMUVersion
  private let plan: BenchPlan

  private static let (memory, fill, workingSet) = (512, 256, 32)
  private static let (channels, delay, rate, checkpoints) = (2, 200, 16, 8)
  /// Milliseconds: how exactly the guest's answer can be told.
  private static let heartbeat = 20

  /// What stands by.
  private enum Standby: CaseIterable {
    case stock, failover, spare

    var title: String {
      switch self {
      case .stock: "stock secondary"
      case .failover: "multifd"
      case .spare: "multifd --spare"
      }
    }
  }

  /// What a round has shown of one.
  fileprivate struct Sample {
    let answer: Duration
    let memory: StandbyMemory.Amount
  }

  init(_ version: QEMUVersion, _ plan: BenchPlan) { (self.version, self.plan) = (version, plan) }

  func run() throws -> FailoverResult {
    note("failover: booting a guest of \(Self.memory) MiB")
    let saved = try SavedGuest(
      version,
      QEMU.Machine(
        type: version.machine(with: version), memory: Self.memory, fill: Self.fill,
        workingSet: Self.workingSet, heartbeat: Self.heartbeat))
    var rows = Standby.allCases.map { FailoverResult.Row($0.title) }
    var rounds = Rounds(seconds: plan.failoverSeconds, most: plan.rounds)
    while rounds.next() {
      do {
        let samples = try Standby.allCases.map { try lose(saved, $0) }
        for (index, sample) in samples.enumerated() { rows[index].add(sample) }
        let answers = samples.map { seconds($0.answer) }.joined(separator: ", ")
        note("failover: round \(rounds.number): \(answers)")
      } catch {
        note("failover: round \(rounds.number): FAILED: \(error)")
        for index in rows.indices { rows[index].failure = "\(error)" }
        break
      }
    }
    return FailoverResult(
      rows, memory: Self.memory, used: Self.fill + Self.workingSet, heartbeat: Self.heartbeat)
  }

  private func lose(_ saved: SavedGuest, _ standby: Standby) throws -> Sample {
    let primary = try saved.start(in: version)
    defer { primary.terminate() }
    guard primary.console.waitHeartbeat(.seconds(60)) != nil else {
      throw LabError("the guest does not beat: \(primary.complaints)")
    }
    switch standby {
    case .stock: return try loseToStock(primary)
    case .failover: return try loseToOurs(primary, .failover)
    case .spare: return try loseToOurs(primary, .spare)
    }
  }

  private var setup: MigrationSetup {
    .colo(version, channels: Self.channels, delay: Self.delay)
  }

  private func loseToOurs(_ primary: QEMU, _ onLoss: Protection.OnLoss) throws -> Sample {
    let protection = try Protection(primary, setup, onLoss: onLoss)
    defer { protection.end() }
    primary.setLoad(rate: Self.rate)
    try protection.waitSpare()
    // The QEMU of the rehearsal has ended then.
    _ = protection.standby.process.errors.wait(.seconds(60)) {
      onLoss == .spare || $0.text.contains("rehearsed: ") ? () : nil
    }
    let memory = StandbyMemory(protection.standby.process.pid, folder: protection.store)
    try reach(protection.session)
    let peak = memory.stop()
    let survivor = try protection.failOver()
    defer { survivor.qemu.killNow() }
    guard let beat = survivor.qemu.console.waitHeartbeat(.seconds(60)) else {
      throw LabError("the guest does not beat after the failover")
    }
    return Sample(answer: survivor.killedAt.duration(to: beat.line.time), memory: peak)
  }

  private func loseToStock(_ primary: QEMU) throws -> Sample {
    let pair = try StockPair(primary, setup, through: [])
    defer { pair.end() }
    primary.setLoad(rate: Self.rate)
    let memory = StandbyMemory(pair.secondary.process.pid, folder: nil)
    try reach(pair.session)
    let peak = memory.stop()
    let first = pair.secondary.qmp.eventCount
    let killedAt = ContinuousClock.now
    primary.process.kill()
    try pair.secondary.qmp.execute("x-colo-lost-heartbeat")
    // A secondary runs its guest ahead between checkpoints: what that says before the failover is
    // no answer.
    let exit = pair.secondary.qmp.waitEvent(from: first, .seconds(60)) { event in
      event.name == "COLO_EXIT" ? event.time : nil
    }
    guard let exit else { throw LabError("the secondary never left COLO: \(pair.complaints)") }
    let beats = pair.secondary.console.log
    let beat = beats.wait(from: 0, .seconds(60)) { line in
      line.time > exit && line.text.hasPrefix("HB n=") ? line : nil
    }
    guard let beat else { throw LabError("the secondary's guest does not beat") }
    return Sample(answer: killedAt.duration(to: beat.time), memory: peak)
  }

  private func reach(_ session: COLOSession) throws {
    let reached = session.waitCheckpoints(Self.checkpoints, .seconds(60))
    guard reached >= Self.checkpoints else { throw LabError("only \(reached) checkpoints") }
  }
}

extension FailoverResult.Row {
  fileprivate mutating func add(_ sample: FailoverPart.Sample) {
    func mebibytes(_ bytes: Int) -> Double { Double(bytes) / Double(1 << 20) }
    answer.values.append(sample.answer.inSeconds * 1000)
    memory.values.append(mebibytes(sample.memory.total))
    files.values.append(mebibytes(sample.memory.files))
  }
}
