import Glibc
import Migration
import System

extension Protector {
  /// Watches a guest that is protected, until it is not.
  ///
  /// QEMU is asked, although it tells: one that stands still tells nothing. And it does stand still
  /// where a standby's disks or its connection hang, with the guest.
  func watch(_ control: StandbyControl, _ writes: inout StandingWrites) throws(ProtectEnd) {
    let tellsEvents = monitor.tellsEvents || emergency.tellsEvents
    var standing: ContinuousClock.Instant?
    var checkpoint = control.status.checkpoint
    while true {
      try state.wait(seconds: 0.25)
      let migration = try execute("query-migrate")["status"].string ?? ""
      guard migration == "colo" else {
        throw .lost(explained(Failure(.failed, "qemu", "COLO has ended")))
      }
      try lookAtDisks(&writes)
      // One that the operator has stopped is `paused`; in a checkpoint it is not.
      let status = try execute("query-status")
      let stands = status["running"].bool == false && status["status"].string != "paused"
      // It has run in between where a checkpoint has been committed.
      let committed = control.status.checkpoint
      if committed != checkpoint { (checkpoint, standing) = (committed, nil) }
      // It is in COLO from the moment on at which it runs: nothing of its copy counts. A protect that
      // takes over has not heard of a STOP before it came.
      standing = stands ? (tellsEvents ? state.stopped : nil) ?? standing ?? .now : nil
      if let standing, standing.duration(to: .now) > .seconds(options.silence) {
        throw .lost(
          Failure(
            .unreachable, "standby",
            "a checkpoint keeps the guest waiting for longer than \(options.silence) s"))
      }
    }
  }

  func lookAtDisks(_ writes: inout StandingWrites) throws(ProtectEnd) {
    guard !assessment.disks.isEmpty else { return }
    let jobs = try execute("query-block-jobs")
    for (index, disk) in assessment.disks.enumerated() {
      guard let progress = DiskMirror(disk).progress(jobs), !progress.hasFailed else {
        throw .lost(Failure(.failed, "disk \(disk.name)", "its mirror has failed"))
      }
      try expectWrites(of: disk, progress, &writes)
      state.show { line in
        (line.disks[index].copied, line.disks[index].total) = (progress.copied, progress.total)
      }
    }
  }

  /// Makes sure that the guest does not wait for a standby's disk that takes nothing.
  func expectWrites(
    of disk: Assessment.Disk, _ progress: DiskMirror.Progress, _ writes: inout StandingWrites
  ) throws(ProtectEnd) {
    let copied = progress.copied
    guard writes.look(disk.name, copied: copied, total: progress.total) != nil else { return }
    throw .lost(
      Failure(
        .unreachable, "disk \(disk.name)",
        "the standby has taken no write for longer than \(options.longestWrite) s"))
  }

  /// Has QEMU take a checkpoint whenever packets wait, until the process ends: it looks at its delay
  /// anew when that is set, to whatever. Its answer may take as long as a checkpoint under way.
  func askForCheckpoints() {
    while true {
      let isWanted = wishes.take(seconds: nil) { wish -> Bool? in
        guard wish != .none else { return nil }
        defer { if wish == .checkpoint { wish = .none } }
        return wish == .checkpoint
      }
      guard isWanted == true else { return }
      // Of a QEMU that is to be freed each question has its place in a queue, which is short.
      guard state.line.state == .protected else { continue }
      let interval = tuning.read { $0.checkpoint }
      let delay: QMPValue = ["x-checkpoint-delay": .integer(Int64(interval.longest))]
      _ = try? monitor.execute("migrate-set-parameters", delay, within: options.silence)
      usleep(UInt32(interval.shortest) * 1000)
    }
  }
}

/// What the packets want of QEMU.
enum CheckpointWish {
  case none
  case checkpoint
  /// There will be no more.
  case end
}

extension Monitor<CheckpointWish> {
  /// One is wanted, unless there will be no more.
  func wishForOne() { update { if $0 == .none { $0 = .checkpoint } } }
}
