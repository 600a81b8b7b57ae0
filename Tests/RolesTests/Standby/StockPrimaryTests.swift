import Foundation
import SessionReplay
import TestSupport
import Testing

/// The whole of it with a stock QEMU: checkpoints ten times a second, one of the two killed, and
/// the guest's own word for every page of its memory.
@Suite(
  "A stock primary",
  .enabled(
    if: QEMUVersion.v111.isAvailableElseAnnounce("a stock COLO primary"),
    "SKIPPED: QEMU 11.1 or its guest is not here"),
  .serialized, .beside)
struct StockPrimaryTests {
  static let version = QEMUVersion.v111
  static let guests = SavedGuests()
  static let setups = [
    MigrationSetup.colo(version, channels: 2, compression: "zstd", delay: 100),
    .colo(version, channels: 4, delay: 100), .colo(version, channels: 0, delay: 100),
    .colo(version, channels: 1, compression: "zlib", delay: 100),
  ]

  @Test("kill -9 of the primary", arguments: [Protection.OnLoss.hold, .spare])
  func primaryKilled(onLoss: Protection.OnLoss) throws {
    var generator = SeededGenerator(seed: 70)
    for round in 0..<(Soak.isOn ? 10 : 1) {
      let (primary, protection) = try protect(round + (onLoss == .spare ? 1 : 0), onLoss)
      defer {
        protection.end()
        primary.terminate()
      }
      try protection.waitSpare()
      #expect(protection.session.waitCheckpoints(4, .seconds(60)) >= 4)
      // A rehearsal beside it disturbs nobody: checkpoints go on, and the guest will be whole.
      let beside = try FailoverPlace(Self.version, primary.machine)
      let check = try withExtendedLifetime(beside) {
        try MultiFDProcess.run(
          ["failover", "--check", "--store", protection.store, "--"] + beside.command)
      }
      #expect(check.code == 0, "\(check)")
      #expect(protection.session.waitCheckpoints(8, .seconds(60)) >= 8)
      Thread.sleep(forTimeInterval: Double.random(in: 0...0.2, using: &generator))
      let survivor = try protection.failOver()
      defer { survivor.qemu.killNow() }
      try expectGoesOn(
        survivor.qemu, from: protection.expectedBeats(after: survivor.checkpoint), "round \(round)")
      // A late primary finds a store that is used.
      let late = try MultiFDProcess.run([
        "receive", "--colo", "--store", protection.store, "--listen", "tcp:127.0.0.1:0",
      ])
      #expect(late.code == 1 && late.errorLine?.contains("handed-over") == true, "\(late)")
    }
  }

  @Test("A fence that fails leaves no QEMU behind, neither a spare one")
  func fence() throws {
    let (primary, protection) = try protect(1, .spare, arguments: ["--fence", "exit 7"])
    defer {
      protection.end()
      primary.terminate()
    }
    try protection.waitSpare()
    #expect(protection.session.waitCheckpoints(2, .seconds(60)) >= 2)
    try #require(Self.users(of: protection.store).count > 0, "there is no spare QEMU")
    primary.killNow()
    let result = try protection.standby.wait()
    #expect(result.code == 1 && result.errors.contains("ended with 7"), "\(result)")
    #expect(Self.users(of: protection.store).isEmpty)
    let status = try StoreCheck.status(protection.store)
    #expect(status.json["guest"].string == "standby", "\(status)")
  }

  /// Processes that have a store in their command line.
  private static func users(of store: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.filter { name in
      pid_t(name).map { OtherProcess.commandLine($0).contains("mem-path=" + store) } ?? false
    }
  }

  @Test("kill -9 of the standby: the primary can go on alone, and the store is whole")
  func standbyKilled() throws {
    var generator = SeededGenerator(seed: 71)
    for round in 0..<(Soak.isOn ? 20 : 1) {
      let (primary, protection) = try protect(round, .hold, round % 2 == 0 ? "mirror" : "sparse")
      defer {
        protection.end()
        primary.terminate()
      }
      #expect(protection.session.waitCheckpoints(5, .seconds(60)) >= 5)
      Thread.sleep(forTimeInterval: Double.random(in: 0...0.2, using: &generator))
      protection.standby.process.kill()
      #expect(try protection.standby.wait().code == 128 + SIGKILL)
      let acknowledged = protection.session.pauses.count

      let event = primary.qmp.eventCount
      try primary.qmp.execute("x-colo-lost-heartbeat")
      let last = primary.console.heartbeats.last?.number ?? 0
      try primary.waitRunning()
      #expect(
        primary.console.waitHeartbeat(atLeast: last + 3, .seconds(60)) != nil,
        "the primary's guest stopped, round \(round), events from \(event)")
      _ = try primary.checkMemory()

      // Both go on here, to see that both could.
      let status = try StoreCheck.status(protection.store)
      let checkpoint = try #require(status.json["checkpoint"].int)
      #expect(checkpoint >= acknowledged && checkpoint <= acknowledged + 1)
      let place = try FailoverPlace(Self.version, primary.machine)
      let result = try MultiFDProcess.run(
        ["failover", "--store", protection.store, "--json", "--"] + place.command)
      #expect(result.code == 5 && result.json["checkpoint"].int == checkpoint, "\(result)")
      let survivor = try place.qemu(pid: try #require(result.json["pid"].int))
      defer { survivor.killNow() }
      try expectGoesOn(
        survivor, from: protection.expectedBeats(after: checkpoint), "round \(round)")
    }
  }

  @Test(
    "migrate_cancel at a healthy primary with multifd: it lives, and no copy of its guest is started"
  )
  func cancelled() throws {
    let (primary, protection) = try protect(0, .spare)
    defer {
      protection.end()
      primary.terminate()
    }
    try protection.waitSpare()
    #expect(protection.session.waitCheckpoints(3, .seconds(60)) >= 3)
    try primary.qmp.execute("migrate_cancel")
    let result = try protection.standby.wait(.seconds(60))
    #expect(result.code == 1 && result.errorLine?.contains("it lives") == true, "\(result)")
    #expect(Self.users(of: protection.store).isEmpty, "the spare QEMU is left")
    let status = try StoreCheck.status(protection.store)
    #expect(status.json["guest"].string == "standby", "\(status)")
  }

  @Test("A QEMU whose command is not the primary's: it says no, and the right one has the guest")
  func wrongCommand() throws {
    let (primary, protection) = try protect(1, .hold)
    defer {
      protection.end()
      primary.terminate()
    }
    #expect(protection.session.waitCheckpoints(3, .seconds(60)) >= 3)
    primary.killNow()
    _ = try protection.standby.wait()
    let other = try FailoverPlace(Self.version, primary.machine)
    func failover(_ command: [String]) throws -> MultiFDProcess.Result {
      try MultiFDProcess.run(["failover", "--store", protection.store, "--json", "--"] + command)
    }
    func changed(_ option: String, _ value: String) throws -> [String] {
      var command = other.command
      command[try #require(command.firstIndex(of: option)) + 1] = value
      return command
    }
    let memory = try changed("-m", "\(primary.machine.memory * 2)M")
    let devices = try changed("-serial", "none")
    for wrong in [memory, devices] {
      let result = try failover(wrong)
      #expect(result.code == 1, "\(result)")
      let status = try StoreCheck.status(protection.store)
      #expect(status.json["guest"].string == "standby", "\(result)")
      #expect(Self.users(of: protection.store).isEmpty)
    }
    // A place of its own: the first one's console has been taken.
    let place = try FailoverPlace(Self.version, primary.machine)
    let result = try failover(place.command)
    #expect(result.code == 5, "\(result)")
    let survivor = try place.qemu(pid: try #require(result.json["pid"].int))
    defer { survivor.killNow() }
    let checkpoint = try #require(result.json["checkpoint"].int)
    try expectGoesOn(survivor, from: protection.expectedBeats(after: checkpoint), "in the end")
  }

  private func protect(
    _ number: Int, _ onLoss: Protection.OnLoss, _ cache: String = "sparse", arguments: [String] = []
  ) throws -> (QEMU, Protection) {
    let version = Self.version
    let primary = try Self.guests.guest(version, version.machine(with: version)).start(in: version)
    primary.console.send("set vrate 2")
    _ = try #require(primary.console.waitHeartbeat(.seconds(60)))
    let protection = try Protection(
      primary, Self.setups[number % Self.setups.count], cache: cache, onLoss: onLoss,
      arguments: arguments)
    primary.setLoad(rate: 16)
    return (primary, protection)
  }

  private func expectGoesOn(
    _ qemu: FailedOverQEMU, from expected: ClosedRange<Int>, _ what: Comment
  ) throws {
    let first = try #require(qemu.console.waitHeartbeat(.seconds(60)), what)
    #expect(expected.contains(first.number), "\(what): the first beat is \(first.number)")
    #expect(
      qemu.console.waitHeartbeat(atLeast: first.number + 3, .seconds(60)) != nil, what)
    _ = try qemu.checkMemory()
  }
}
