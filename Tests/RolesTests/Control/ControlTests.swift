import Foundation
import Glibc
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing

@Suite("A standby and the protect beside its primary", .beside)
struct ControlTests {
  private static let script = SyntheticGuest.script(
    .plain, seed: 4, checkpoints: 400, pages: [40, 5], counts: [3])

  /// A primary that waits, its guest standing still, until the test goes on.
  private struct Pair {
    let standby: LocalStandby
    let primary: Primary

    init(
      _ script: PrimaryScript = ControlTests.script, disks: DiskOptions? = nil, timeout: Double = 20
    ) throws {
      standby = try LocalStandby(disks: disks) { $0.timeout = timeout }
      primary = try Primary(script, to: standby.uri)
    }

    /// Up to VMSTATE_SEND.
    func stop() throws {
      try primary.request()
      try primary.send(main: [0, 0, 0, 3])
    }

    /// Has a protect come, and then the guest.
    func begin() throws -> ControlClient {
      let control = try ControlClient(standby.uri)
      try control.wait { $0["version"].int == 1 }
      try primary.precopy()
      return control
    }

    /// The rest of it.
    func finish(_ number: Int, _ script: PrimaryScript = ControlTests.script) throws {
      try primary.send(main: Array(script.checkpoints[number - 1].main.dropFirst(4)))
      try primary.expectAcknowledgement(number)
    }
  }

  @Test("It hears how far the standby is, from its first line on")
  func status() throws {
    let place = try DiskPlace()
    let standby = try LocalStandby(disks: place.options())
    let control = try ControlClient(standby.uri)
    defer { control.close() }
    let first = try control.wait { _ in true }
    #expect(first["version"].int == 1)
    let status = first["status"]
    #expect(status["phase"].string == "waiting" && status["checkpoint"].int == 0)
    #expect(status["disksURI"].string == place.uri)
    #expect(status["disks"].elements.map { $0["name"].string } == ["disk0", "disk1"])
    #expect(status["disks"][0]["size"].int == 256 << 10)
    #expect(status["disks"][1]["state"].string == "syncing")
    let session = try DiskSession(place, to: standby.uri)
    defer { session.die() }
    for disk in place.disks { try disk.connect() }
    try place.disks[0].copy()
    try place.disks[1].copy(0..<0.25)
    try control.wait {
      let disks = $0["status"]["disks"]
      return disks[0]["state"].string == "synced" && disks[1]["covered"].int == 64 << 10
    }
    try place.disks[1].copy(0.25..<1)
    try session.protect()
    try control.wait { $0["status"]["phase"].string == "precopy" }
    try control.wait { $0["status"]["phase"].string == "protecting" }
    try session.play(upTo: 2)
    try control.wait { $0["status"]["checkpoint"].int == 2 }
    place.disks[1].cut()
    let lost = try control.wait { $0["status"]["disks"][1]["state"].string == "lost" }
    #expect(lost["status"]["disks"][1]["reason"].string == "its connection has ended")
    session.die()
    let end = try control.wait { $0["status"]["phase"].string == "lost" }
    #expect(end["status"]["checkpoint"].int == 2)
    #expect(end["status"]["reason"].string?.isEmpty == false)
    #expect(control.heard.waitForEnd(.seconds(20)))
    _ = try standby.outcome()
  }

  @Test(
    "Packets leave after the checkpoint that knows them, and only those that were marked in time")
  func release() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let control = try pair.begin()
    defer { control.close() }
    func releases() -> [Int] { control.messages.compactMap { $0["release"].int } }
    // Answered in time, in a while, or for a checkpoint that is not there yet.
    for number in 1...3 {
      try pair.stop()
      try control.wait { $0["mark"].int == number }
      control.say(["marked": .integer(Int64(number)), "alive": true])
      // Until that has been taken.
      Thread.sleep(forTimeInterval: 0.02)
      #expect(!releases().contains(number))
      try pair.finish(number)
      try control.wait { $0["release"].int == number }
    }
    try pair.stop()
    try control.wait { $0["mark"].int == 4 }
    // Of a mark that has not been set.
    control.say(["marked": 5])
    Thread.sleep(forTimeInterval: 0.02)
    try pair.finish(4)
    // Too late for this one.
    control.say(["marked": 4])
    Thread.sleep(forTimeInterval: 0.02)
    #expect(releases() == [1, 2, 3])
    try pair.stop()
    try control.wait { $0["mark"].int == 5 }
    try pair.finish(5)
    try control.wait { $0["release"].int == 4 }
    // A checkpoint that does not come to its end.
    try pair.stop()
    try control.wait { $0["mark"].int == 6 }
    control.say(["marked": 6])
    Thread.sleep(forTimeInterval: 0.02)
    pair.primary.close()
    #expect(control.heard.waitForEnd(.seconds(20)))
    _ = try pair.standby.outcome()
    #expect(releases() == [1, 2, 3, 4])
    try StoreCheck.expect(pair.standby.store, holds: 5, Self.script)
  }

  /// A checkpoint of a guest that has little to send is committed sooner than an answer from far can
  /// be here.
  @Test("An answer that is on its way is waited for")
  func onItsWay() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let control = try pair.begin()
    defer { control.close() }
    // On a busy machine some come later than they are waited for.
    var inTime = 0
    for number in 1...5 {
      try pair.stop()
      try control.wait { $0["mark"].int == number }
      Thread.detachNewThread {
        usleep(8000)
        control.say(["marked": .integer(Int64(number))])
      }
      try pair.finish(number)
      Thread.sleep(forTimeInterval: 0.05)
      if control.messages.contains(where: { $0["release"].int == number }) { inTime += 1 }
    }
    #expect(inTime > 0)
    pair.primary.close()
    _ = try pair.standby.outcome()
  }

  @Test("One that comes again takes the place of the first, whose answers do not count any more")
  func again() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let first = try ControlClient(pair.standby.uri)
    defer { first.close() }
    try first.wait { $0["version"].int == 1 }
    try pair.primary.precopy()
    try pair.stop()
    try first.wait { $0["mark"].int == 1 }
    first.say(["marked": 1])
    Thread.sleep(forTimeInterval: 0.02)
    let second = try ControlClient(pair.standby.uri)
    defer { second.close() }
    // Its first line is the one with the version, whatever else is being said.
    #expect(try second.wait { _ in true }["version"].int == 1)
    #expect(first.heard.waitForEnd(.seconds(20)))
    try pair.finish(1)
    // The second has marked nothing: what it holds is newer than that.
    try pair.stop()
    try second.wait { $0["mark"].int == 2 }
    second.say(["marked": 2])
    Thread.sleep(forTimeInterval: 0.02)
    try pair.finish(2)
    try second.wait { $0["release"].int == 2 }
    #expect(second.messages.compactMap { $0["release"].int } == [2])
    for _ in 0..<30 {
      let next = try ControlClient(pair.standby.uri)
      defer { next.close() }
      #expect(try next.wait { _ in true }["version"].int == 1)
    }
    pair.primary.close()
    #expect(try pair.standby.outcome().report.checkpoint == 2)
  }

  @Test("One that only looks leaves the one that is there, until it says that it wants its place")
  func look() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let first = try ControlClient(pair.standby.uri)
    defer { first.close() }
    try first.wait { $0["version"].int == 1 }
    try pair.primary.precopy()
    let hello = #"{"version":1,"look":true}"# + "\n"
    let looking = try ControlClient(pair.standby.uri, hello: hello)
    defer { looking.close() }
    #expect(try looking.wait { _ in true }["version"].int == 1)
    // What it says meanwhile is nobody's.
    looking.say(["ended": "guest-shutdown", "marked": 1])
    try pair.stop()
    try first.wait { $0["mark"].int == 1 }
    first.say(["marked": 1])
    Thread.sleep(forTimeInterval: 0.02)
    try pair.finish(1)
    try first.wait { $0["release"].int == 1 }
    #expect(looking.messages.count == 1, "\(looking.messages)")
    // One at a time, too.
    let other = try ControlClient(pair.standby.uri, hello: hello)
    defer { other.close() }
    #expect(looking.heard.waitForEnd(.seconds(20)))
    #expect(try other.wait { _ in true }["version"].int == 1)
    other.say(["look": false])
    #expect(first.heard.waitForEnd(.seconds(20)))
    try pair.stop()
    try other.wait { $0["mark"].int == 2 }
    other.say(["marked": 2, "ended": "guest-shutdown"])
    // It was said too early.
    other.say(["ended": ""])
    Thread.sleep(forTimeInterval: 0.02)
    try pair.finish(2)
    try other.wait { $0["release"].int == 2 }
    pair.primary.close()
    let outcome = try pair.standby.outcome()
    #expect(outcome.report.checkpoint == 2 && outcome.cause.peerIsGone, "\(outcome.cause)")
  }

  @Test("A guest that has ended by itself is not revived; one that ended before this one came, is")
  func ended() throws {
    for isEarly in [false, true] {
      let pair = try Pair()
      defer { pair.primary.close() }
      let control = try ControlClient(pair.standby.uri)
      defer { control.close() }
      try control.wait { $0["version"].int == 1 }
      if isEarly {
        control.say(["ended": "guest-shutdown"])
        Thread.sleep(forTimeInterval: 0.05)
      }
      try pair.primary.play(upTo: 2)
      if !isEarly { control.say(["ended": "guest-shutdown"]) }
      // As QEMU: it says so, and is gone.
      pair.primary.close()
      let cause = try pair.standby.outcome().cause
      #expect(cause.peerIsGone == isEarly, "\(cause)")
      #expect("\(cause)".contains("guest-shutdown") != isEarly, "\(cause)")
      let said = try Store.status(of: pair.standby.store).manifest?.ended
      #expect(said == (isEarly ? nil : "guest-shutdown"))
      try StoreCheck.expect(pair.standby.store, holds: 2, Self.script, force: !isEarly)
    }
  }

  @Test("A guest that goes on alone is not revived, by itself or by hand, and its store says so")
  func goesOn() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let control = try pair.begin()
    defer { control.close() }
    try pair.primary.checkpoint(1)
    control.say(["ended": "the link was slow", "alone": true])
    pair.primary.close()
    let cause = try pair.standby.outcome().cause
    #expect(cause.cause == .peerLives, "\(cause)")
    #expect("\(cause)".contains("goes on there, alone (the link was slow)"), "\(cause)")
    let status = try StoreCheck.status(pair.standby.store)
    #expect(status.code == 1 && status.json["goes-on"].bool == true, "\(status)")
    #expect(status.json["ended"].string == "the link was slow", "\(status)")
    let refused = try MultiFDProcess.run([
      "failover", "--store", pair.standby.store, "--fence", "true", "--", "/bin/false",
    ])
    #expect(
      refused.errorLine?.contains("goes on alone at its primary (the link was slow)") == true,
      "\(refused)")
    try StoreCheck.expect(pair.standby.store, holds: 1, Self.script, force: true)
  }

  @Test("A protect whose line is open is waited for when the primary's connections have ended")
  func lateWord() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let control = try pair.begin()
    defer { control.close() }
    try pair.primary.checkpoint(1)
    pair.primary.close()
    // Its QEMU has told it, and it had no processor.
    Thread.sleep(forTimeInterval: 1)
    control.say(["ended": "guest-shutdown"])
    let cause = try pair.standby.outcome().cause
    #expect(cause.cause == .peerLives, "\(cause)")
  }

  @Test("One that closes its line without a word says that the primary is gone")
  func noWord() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    let control = try pair.begin()
    try pair.primary.checkpoint(1)
    pair.primary.close()
    control.close()
    #expect(try pair.standby.outcome().cause.peerIsGone)
  }

  @Test("Nor is a guest that has ended revived because no checkpoint comes any more")
  func endedInSilence() throws {
    let standby = try LocalStandby(checkpointTimeout: 1)
    let control = try ControlClient(standby.uri)
    defer { control.close() }
    try control.wait { $0["version"].int == 1 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    // Its QEMU stays (`-no-shutdown`).
    control.say(["ended": "guest-shutdown"])
    let cause = try standby.outcome().cause
    #expect(cause.cause == .peerLives, "\(cause)")
  }

  @Test(
    "The store knows that its guest has ended before anything else is done, which may take long",
    .enabled(if: KillSwitch.isAvailable))
  func endedFirst() throws {
    // precopy, ready, receiving and committed of two checkpoints; and lost: all is done then.
    let standby = try StandbyProcess(
      channels: 0, environment: KillSwitch.environment(.state(7), at: 1))
    let control = try ControlClient(standby.uri)
    defer { control.close() }
    try control.wait { $0["version"].int == 1 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    control.say(["ended": "guest-shutdown"])
    primary.close()
    let result = try standby.multifd.wait()
    // Killed: it has not come to its report.
    #expect(result.code == 1 && result.output.isEmpty, "\(result)")
    #expect(try Store.status(of: standby.store).state?.hasPrefix("lost") == true)
    #expect(try Store.status(of: standby.store).manifest?.ended == "guest-shutdown", "\(result)")
  }

  @Test("Garbage ends its own connection and nothing else")
  func garbage() throws {
    let pair = try Pair()
    defer { pair.primary.close() }
    try pair.primary.precopy()
    for hello in [
      "", "{}", "{\"version\":2}\n", "[]", "version", "\u{0}", String(repeating: "[", count: 4000),
    ] {
      let control = try ControlClient(pair.standby.uri, hello: hello)
      #expect(control.heard.waitForEnd(.seconds(20)), "\(hello)")
      #expect(control.messages.isEmpty)
      control.close()
    }
    let nonsense = [
      "\n", "{\"marked\":\"1\"}\n", "{\"marked\":1e99}\n", "null\n", "{\"ended\":7}\n",
      "\u{0}\u{1}\n",
      String(repeating: "[", count: 60_000) + "\n", String(repeating: "x", count: 70_000),
      "{\"alive\":",
    ]
    for (number, text) in nonsense.enumerated() {
      let control = try ControlClient(pair.standby.uri)
      try control.wait { $0["version"].int == 1 }
      control.say(text: text)
      if text.last != "\n", text.count < 1000 { control.close() }
      #expect(control.heard.waitForEnd(.seconds(20)), "\(text.prefix(40))")
      control.close()
      try pair.primary.checkpoint(number + 1)
    }
    // What is not known is not looked at, and the largest mark is no mark.
    let control = try ControlClient(pair.standby.uri)
    defer { control.close() }
    control.say(["new": ["thing": [1, 2]], "marked": .integer(.max)])
    control.say(["marked": .integer(.min), "synced": ["disk0"], "alive": true])
    try control.wait { $0["version"].int == 1 }
    Thread.sleep(forTimeInterval: 0.02)
    try pair.primary.checkpoint(nonsense.count + 1)
    try pair.primary.checkpoint(nonsense.count + 2)
    try control.wait { $0["mark"].int == nonsense.count + 2 }
    #expect(control.messages.allSatisfy { $0["release"] == .null })
    pair.primary.close()
    #expect(try pair.standby.outcome().report.checkpoint == nonsense.count + 2)
    try StoreCheck.expect(pair.standby.store, holds: nonsense.count + 2, Self.script)
  }

  @Test("One that never reads does not hold the guest up")
  func deaf() throws {
    // The primary waits 20 s for an answer, the standby would wait 100.
    let pair = try Pair(timeout: 100)
    defer { pair.primary.close() }
    let control = try ControlClient(pair.standby.uri, reads: false)
    defer { control.close() }
    try pair.primary.play(upTo: 400)
    pair.primary.close()
    #expect(try pair.standby.outcome().report.checkpoint == 400)
  }
}
