import Foundation
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

@Suite("kill -9 of the standby", .serialized, .early)
struct KilledStandbyTests {
  /// One session, killed, and what is there afterwards.
  struct Round {
    /// What is told of a process whose worker was killed, or that was killed itself.
    static let killed: Set<Int32> = [70, 128 + SIGKILL]

    let script: PrimaryScript
    let cache: Manifest.Cache
    var what: Comment

    /// Lets a primary talk to a standby that is going to be killed, and checks the store.
    ///
    /// - Parameters:
    ///   - environment: of the standby.
    ///   - kill: is given the process once precopy is held, in a thread of its own.
    /// - Returns: whether it was killed before the session was over.
    func run(
      environment: [String: String] = [:], kill: (@Sendable (ChildProcess) -> Void)? = nil
    ) throws -> Bool {
      let standby = try StandbyProcess(
        cache: cache, channels: script.channelCount, environment: environment)
      let primary = try Primary(script, to: standby.uri, seed: script.checkpoints.count.hashed)
      defer { primary.close() }
      var gone = false
      do {
        try primary.precopy()
        let process = standby.multifd.process
        if let kill { Thread.detachNewThread { kill(process) } }
        for number in 1...script.checkpoints.count { try primary.checkpoint(number) }
      } catch Primary.Ended.standbyGone { gone = true }
      primary.close()
      let result = try standby.multifd.wait()
      #expect(result.code == 3 || Self.killed.contains(result.code), "\(what): \(result)")
      try check(standby.store, primary.acknowledged)
      return gone
    }

    /// The last acknowledged checkpoint is there, or a later one, and it is whole.
    func check(_ store: String, _ acknowledged: Int?) throws {
      // READY may not have come, and then the primary goes on alone: the guardian may have swept
      // what was left.
      let found = try? Store.status(of: store)
      if acknowledged == nil, found?.manifest == nil { return }
      let status = try #require(found, what)
      let number = status.checkpoint?.number ?? 0
      #expect(number >= acknowledged ?? 0, "\(what): acknowledged \(acknowledged ?? 0)")
      #expect(number <= (acknowledged ?? 0) + 1, what)
      try StoreCheck.expect(store, holds: number, script, what)
      // Once more: what the first to open it has repaired stays so.
      try StoreCheck.expect(store, holds: number, script, what)
    }
  }

  @Test(
    "At any moment", arguments: Manifest.Cache.allCases,
    [SyntheticGuest.Style(), .plain, SyntheticGuest.Style(channels: 4)])
  func anyMoment(cache: Manifest.Cache, style: SyntheticGuest.Style) throws {
    var generator = SeededGenerator(seed: 21)
    var killed = 0
    for number in 0..<Soak.rounds(14) {
      let script = SyntheticGuest.script(
        style, seed: UInt64(number % 4), checkpoints: 40, pages: [1000, 37, 1])
      let delay = Double.random(in: 0...0.06, using: &generator)
      let round = Round(
        script: script, cache: cache, what: "\(cache), \(style), round \(number), after \(delay) s")
      let gone = try round.run { process in
        Thread.sleep(forTimeInterval: delay)
        process.kill()
      }
      if gone { killed += 1 }
    }
    // Otherwise this has shown nothing: every session would have come to its end.
    #expect(killed > 0)
  }

  @Test(
    "Before every one of its system calls", .enabled(if: KillSwitch.isAvailable),
    arguments: Manifest.Cache.allCases)
  func everyCall(cache: Manifest.Cache) throws {
    let script = SyntheticGuest.script(.plain, seed: 2, checkpoints: 4, pages: [700, 5])
    try killBeforeEveryCall(script, cache)
  }

  @Test(
    "While a large checkpoint is still being copied and tiny ones are committed",
    .enabled(if: KillSwitch.isAvailable))
  func overlap() throws {
    let script = SyntheticGuest.script(
      seed: 2, checkpoints: 2, pages: [6000], counts: [5000, 1])
    for call in 1...10 {
      let round = Round(script: script, cache: .sparse, what: "call \(call)")
      _ = try round.run(environment: KillSwitch.environment(.checkpoint(2), at: call))
    }
  }

  private func killBeforeEveryCall(_ script: PrimaryScript, _ cache: Manifest.Cache) throws {
    var call = 1
    while true {
      let round = Round(script: script, cache: cache, what: "\(cache), call \(call)")
      guard try round.run(environment: KillSwitch.environment(.manifest, at: call)) else { break }
      call += 1
      try #require(call < 2000)
    }
    #expect(call > 40)
  }

  @Test(
    "And again before every system call of whoever repairs the store",
    .enabled(if: KillSwitch.isAvailable), arguments: Manifest.Cache.allCases)
  func repair(cache: Manifest.Cache) throws {
    let script = SyntheticGuest.script(.plain, seed: 2, checkpoints: 6, pages: [700, 5])
    let store = try unrepaired(script, cache)
    defer { store.remove() }
    let found = try #require(try Store.status(of: store("store")).checkpoint?.number)
    var call = 1
    while true {
      let copy = try TemporaryFolder(.memory(bytes: 64 << 20))
      defer { copy.remove() }
      try Self.copy(store("store"), to: copy("store"))
      // Nobody listens there: it repairs, and then finds nobody.
      let result = try MultiFDProcess.run(
        ["send", "--store", copy("store"), "--to", "unix:" + copy("nobody"), "--channels", "0"],
        environment: KillSwitch.environment(.lock, at: call))
      try #require(result.code == 3 || Round.killed.contains(result.code), "\(result)")
      try StoreCheck.expect(copy("store"), holds: found, script, "\(cache), call \(call)")
      if result.code == 3 { break }
      call += 1
    }
    #expect(call > 2)
    // The same store over and over: what the dead have done is never in the way.
    for call in [1, 3, 2, 5, 4, 1] {
      _ = try MultiFDProcess.run(
        ["send", "--store", store("store"), "--to", "unix:" + store("nobody"), "--channels", "0"],
        environment: KillSwitch.environment(.lock, at: call))
    }
    try StoreCheck.expect(store("store"), holds: found, script, "\(cache)")
  }

  @Test(
    "Before precopy is held: nothing is there, and the folder is good for another",
    .enabled(if: KillSwitch.isAvailable))
  func precopy() throws {
    let script = SyntheticGuest.script(.plain, seed: 2, checkpoints: 2, pages: [300, 5])
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    var killed = 0
    for call in stride(from: 1, through: 60, by: 4) {
      let standby: StandbyProcess
      do {
        standby = try StandbyProcess(
          store: folder("store"), channels: 0, environment: KillSwitch.environment(.lock, at: call))
      } catch is LabError {
        killed += 1  // before it listened
        continue
      }
      let primary = try Primary(script, to: standby.uri)
      defer { primary.close() }
      do { try primary.play(upTo: 0) } catch Primary.Ended.standbyGone {}
      primary.close()
      let result = try standby.multifd.wait()
      guard primary.acknowledged == nil else { break }
      #expect(Round.killed.contains(result.code), "call \(call): \(result)")
      killed += 1
      if try Store.status(of: folder("store")).manifest != nil {
        // Held, but READY was not sent. Nobody knows that but this test.
        try StoreCheck.expect(folder("store"), holds: 0, script)
        break
      }
    }
    #expect(killed > 5)
    try? FileManager.default.removeItem(atPath: folder("store") + "/manifest.json")
    let standby = try StandbyProcess(store: folder("store"))
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    primary.close()
    #expect(try standby.multifd.wait().code == 3)
    try StoreCheck.expect(folder("store"), holds: 2, script)
  }

  /// A store whose last checkpoint is committed and not copied.
  private func unrepaired(_ script: PrimaryScript, _ cache: Manifest.Cache) throws
    -> TemporaryFolder
  {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    for call in 1..<2000 {
      let standby = try StandbyProcess(
        cache: cache, channels: 0, environment: KillSwitch.environment(.manifest, at: call))
      let primary = try Primary(script, to: standby.uri)
      defer { primary.close() }
      do { try primary.play(upTo: script.checkpoints.count) } catch Primary.Ended.standbyGone {}
      primary.close()
      _ = try standby.multifd.wait()
      // Killed before it was ready, it leaves nothing.
      let record = try? Store.status(of: standby.store).checkpoint
      let redone = Int(
        ((try? String(contentsOfFile: standby.store + "/redone", encoding: .utf8)) ?? "0")
          .dropLast())
      if let record, record.number > redone ?? 0,
        try SyntheticSessionTests.difference(standby.store, script.image(record.number)) != nil
      {
        try Self.copy(standby.store, to: folder("store"))
        return folder
      }
    }
    throw LabError("no kill has left a checkpoint to be copied")
  }

  /// Copies a store with its holes.
  static func copy(_ from: String, to: String) throws {
    let copy = try ChildProcess(["/bin/cp", "-r", "--sparse=always", from, to])
    guard copy.wait(.seconds(30)) == .code(0) else { throw LabError(copy.errors.text) }
  }
}

extension Int {
  /// A seed made of a number.
  var hashed: UInt64 { UInt64(truncatingIfNeeded: self) &* 0x9e37_79b9_7f4a_7c15 }
}
