import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

/// A record, the seal, one rename, the next log, the answer, the image, the log's end: whatever the
/// standby is killed before, memory and disks are one checkpoint's.
@Suite("kill -9 of a standby with disks", .serialized, .beside)
struct KilledDiskStandbyTests {
  private static let script = DiskSession.script(checkpoints: 5)

  /// A session that may be killed at any moment.
  private struct Round {
    let place: DiskPlace
    let standby: StandbyProcess
    let session: DiskSession
    /// Whether it was killed before the session was over.
    let wasKilled: Bool

    init(
      _ environment: [String: String] = [:], seed: UInt64 = 1,
      kill: (@Sendable (ChildProcess) -> Void)? = nil
    ) throws {
      place = try DiskPlace(2, size: 32 << 10, seed: seed)
      standby = try StandbyProcess(
        store: place("store"), channels: 0, place.arguments(), environment: environment)
      session = try DiskSession(place, to: standby.uri, KilledDiskStandbyTests.script, writes: 2)
      var isGone = false
      do {
        try session.begin()
        let process = standby.multifd.process
        if let kill { Thread.detachNewThread { kill(process) } }
        try session.play(upTo: session.script.checkpoints.count)
      } catch Primary.Ended.standbyGone {
        isGone = true
      } catch NBDClient.Ended.gone { isGone = true }
      session.die()
      let result = try standby.multifd.wait()
      wasKilled = isGone
      #expect(
        result.code == 3 || KilledStandbyTests.Round.killed.contains(result.code), "\(result)")
    }

    /// The last acknowledged checkpoint is there, or a later one, and it is whole: with its disks.
    ///
    /// - Returns: that checkpoint; nil where the primary has not heard of READY.
    @discardableResult
    func check(_ what: Comment) throws -> Int? {
      guard let acknowledged = session.primary.acknowledged else { return nil }
      let number = try Store.status(of: standby.store).checkpoint?.number ?? 0
      #expect((acknowledged...acknowledged + 1).contains(number), what)
      try session.expect(standby.store, holds: number, what)
      return number
    }
  }

  @Test("At any moment")
  func anyMoment() throws {
    var generator = SeededGenerator(seed: 5)
    var killed = 0
    for number in 0..<Soak.rounds(8) {
      let delay = Double.random(in: 0...0.02, using: &generator)
      let round = try Round(seed: UInt64(number)) { process in
        Thread.sleep(forTimeInterval: delay)
        process.kill()
      }
      try round.check("round \(number), after \(delay) s")
      if round.wasKilled { killed += 1 }
    }
    #expect(killed > 0)
  }

  @Test(
    "Before the system calls of its checkpoints, the disks' included",
    .enabled(if: KillSwitch.isAvailable))
  func everyCall() throws {
    var (call, numbers) = (1, Set<Int>())
    while true {
      let round = try Round(KillSwitch.environment(.manifest, at: call, disks: true))
      if let number = try round.check("call \(call)") { numbers.insert(number) }
      guard round.wasKilled else { break }
      // Each of them in `make soak`; else those that come at other steps of a checkpoint each time.
      call += Soak.isOn ? 1 : 17
      try #require(call < 4000)
    }
    #expect(numbers.isSuperset(of: 0...4), "\(numbers)")
  }

  @Test(
    "Before each system call from a commit to the end of its logs",
    .enabled(if: KillSwitch.isAvailable))
  func commit() throws {
    for call in 1...Soak.rounds(16) {
      let round = try Round(KillSwitch.environment(.checkpoint(2), at: call, disks: true))
      #expect(round.wasKilled, "call \(call)")
      try round.check("call \(call) after the commit of 2")
    }
  }

  @Test(
    "And again before every system call of whoever redoes the disks",
    .enabled(if: KillSwitch.isAvailable))
  func redo() throws {
    // Committed, and nothing of it in the images.
    let round = try Round(KillSwitch.environment(.checkpoint(3), at: 1, disks: true))
    let (place, store) = (round.place, round.standby.store)
    #expect(round.wasKilled)
    #expect(place.disks.allSatisfy { $0.difference($0.snapshots[3]) != nil })
    // The socket of the dead.
    try? FileManager.default.removeItem(atPath: place("nbd"))
    let kept = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { kept.remove() }
    try KilledStandbyTests.copy(place("."), to: kept("place"))
    var call = 1
    while true {
      let result = try MultiFDProcess.run(
        ["send", "--store", store, "--to", "unix:" + kept("nobody"), "--channels", "0"],
        environment: KillSwitch.environment(.lock, at: call, disks: true))
      try #require(
        result.code == 3 || KilledStandbyTests.Round.killed.contains(result.code), "\(result)")
      try round.session.expect(store, holds: 3, "call \(call)")
      if result.code == 3 { break }
      try FileManager.default.removeItem(atPath: store)
      try KilledStandbyTests.copy(kept("place") + "/.", to: place("."))
      #expect(place.disks.allSatisfy { $0.difference($0.snapshots[3]) != nil })
      call += Soak.isOn ? 1 : 5
      try #require(call < 1000)
    }
    #expect(call > 20)
  }
}
