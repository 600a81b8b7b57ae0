// COLO*.swift: the standby tried and measured: the matrix of protected guests that lose their
// primary, the table of checkpoint times next to stock QEMU, failover times.

import Foundation
import TestSupport

/// One way of protecting a guest, and what came of it.
struct COLOCell: Sendable, CustomStringConvertible {
  var source = QEMUVersion.v111
  var channels = 2
  var compression = "none"
  /// `x-checkpoint-delay`, ms.
  var delay = 600
  /// MiB/s of text-like pages that the guest rewrites.
  var rate = 32
  var cache = "sparse"
  /// MiB of the guest.
  var memory = 256
  var checkpoints = 10
  var onLoss = Protection.OnLoss.hold
  /// `--compression` of a relay beside the primary, between which and the standby is a link;
  /// `none`: a relay that is told nothing; `direct`: no relay.
  var link = "direct"
  /// Between primary and standby.
  var tls: Credentials.Kind?
  /// Instead of our standby: a second relay and a stock secondary.
  var pair = false
  /// Protect the guest again after the failover, fail over again, and migrate it away.
  var andBack = false
  /// Instead of all that: hold the primary in its last checkpoint, and compare its memory with the
  /// store.
  var compare = false

  var description: String {
    var words = ["\(source)", channels == 0 ? "plain" : "\(compression) x\(channels)"]
    words += ["\(delay) ms", "\(rate) MiB/s", cache, onLoss.rawValue]
    if memory != 256 { words.append("\(memory) MiB") }
    if link != "direct" { words.append("link \(link)") }
    if let tls { words.append("TLS \(tls)") }
    if pair { words.append("stock pair") }
    if andBack { words.append("and back") }
    if compare { words[words.count - 1] = "compare" }
    return words.joined(separator: ", ")
  }

  /// q35 aborts or stalls sooner with the older ones.
  var machine: String { source >= .v111 ? "q35" : "pc" }

  var setup: MigrationSetup {
    .colo(source, channels: channels, compression: compression, delay: delay)
  }

  /// What the relays are told, the one next to the primary first.
  var relays: [String?] {
    if link == "direct" { return [] }
    let first = link == "none" ? nil : link
    return pair ? [first, nil] : [first]
  }

  /// 7.2 and 10.0 primaries under TCG stall after one to three checkpoints: what they give is
  /// taken.
  var mayStall: Bool { source < .v111 }

  /// How long the checkpoints may take.
  var patience: Duration {
    mayStall ? .seconds(20) : .milliseconds((delay + 1500) * checkpoints) + .seconds(30)
  }

  /// What was seen.
  struct Outcome: Sendable {
    var reached = 0
    var failedOverFrom = 0
    var pauses: [Duration] = []
    var report: JSON = .null
    var failover: JSON = .null
    var afterKill = Duration.zero
    var afterEnd = Duration.zero
    var memory = MemorySampler.Peak()
    var pages = 0
    var remark = ""

    mutating func take(_ protection: Protection, _ survivor: Protection.Survivor) {
      pauses = protection.session.pauses
      failedOverFrom = survivor.checkpoint
      report = survivor.report
      failover = survivor.failover
      afterKill = survivor.afterKill
      afterEnd = survivor.afterEnd
      memory = survivor.memory
    }
  }

  /// Protects a guest, loads it, kills its primary at a random moment and checks the survivor.
  func run(_ guests: SavedGuests, _ random: inout some RandomNumberGenerator) throws -> Outcome {
    let saved = try guests.guest(source, machine)
    let qemu = try saved.start(in: source)
    defer { qemu.terminate() }
    qemu.console.send("set vrate 2")
    guard qemu.console.waitHeartbeat(.seconds(60)) != nil else {
      throw LabError("the guest does not beat at its primary")
    }
    if pair { return try protectByStock(qemu, &random) }
    if compare || mayLoseWrites { return try compareMemory(qemu) }
    var (outcome, survivor) = try protect(qemu, &random)
    guard andBack else { return outcome }
    // The survivor becomes a primary itself, and its own survivor is migrated to a QEMU of its own.
    let second = try protect(survivor, &random)
    survivor = second.survivor
    outcome.remark = "again \(second.outcome.reached), failed over again, moved to another QEMU"
    outcome.pages = try moveAway(survivor)
    return outcome
  }

  /// From the QEMU of a failover into a store, and from there into a QEMU like the first primary.
  private func moveAway(_ qemu: FailedOverQEMU) throws -> Int {
    let folder = try TemporaryFolder(.memory(bytes: qemu.machine.memory << 20))
    defer { folder.remove() }
    let receive = try MultiFDProcess(
      ["receive", "--listen", "tcp:127.0.0.1:0", "--store", folder("store"), "--json"])
    let setup = MigrationSetup(channels: 2)
    try setup.apply(to: qemu, .source)
    let moved = try qemu.migrate(to: try receive.waitListening())
    let taken = try receive.wait()
    guard taken.code == 0, moved.status == "completed" else {
      throw LabError("moving away: \(moved.status), multifd receive: \(taken)")
    }
    qemu.killNow()
    let destination = try QEMU(source, qemu.machine, incoming: "defer")
    defer { destination.terminate() }
    try setup.apply(to: destination, .destination)
    let port = try destination.listen()
    let sent = try MultiFDProcess.run(
      ["send", "--store", folder("store"), "--to", "tcp:127.0.0.1:\(port)", "--channels", "2"])
    guard sent.code == 0 else { throw LabError("moving away: multifd send: \(sent)") }
    try destination.waitRunning()
    return try destination.checkMemory().pages
  }

  private func protect(
    _ primary: any GuestHost, _ random: inout some RandomNumberGenerator
  ) throws -> (outcome: Outcome, survivor: FailedOverQEMU) {
    let credentials = try tls.map(Credentials.init)
    var setup = setup
    setup.tls = credentials?.qemu
    let protection = try Protection(
      primary, setup, cache: cache, onLoss: onLoss, arguments: credentials?.arguments ?? [],
      relays: relays)
    defer { protection.end() }
    primary.setLoad(rate: rate)
    try protection.waitSpare()
    var outcome = Outcome()
    outcome.reached = protection.session.waitCheckpoints(checkpoints, patience)
    guard mayStall || outcome.reached >= checkpoints else {
      throw LabError(
        "only \(outcome.reached) checkpoints in \(patience): "
          + protection.standby.process.errors.text.suffix(400))
    }
    // Somewhere in the interval, or in the checkpoint that ends it.
    Thread.sleep(forTimeInterval: Double.random(in: 0...Double(delay + 60) / 1000, using: &random))
    let survivor = try protection.failOver()
    outcome.take(protection, survivor)
    do {
      outcome.pages = try check(protection, survivor)
    } catch {
      throw LabError("\(error); primary's console: \(primary.console.trouble.prefix(3))")
    }
    return (outcome, survivor.qemu)
  }

  /// The guest goes on from where it was, and its memory is right. Gives the pages it checked.
  func check(_ protection: Protection, _ survivor: Protection.Survivor) throws -> Int {
    let expected = protection.expectedBeats(after: survivor.checkpoint)
    let console = survivor.qemu.console
    guard let first = console.waitHeartbeat(.seconds(60)) else {
      throw LabError("the guest does not beat after failover: \(console.log.text.suffix(300))")
    }
    guard expected.contains(first.number) else {
      throw LabError("after failover the first beat is \(first.number), expected \(expected)")
    }
    guard console.waitHeartbeat(atLeast: first.number + 3, .seconds(60)) != nil else {
      throw LabError("the guest stopped beating after failover")
    }
    let pages = try survivor.qemu.checkMemory().pages
    let status = try MultiFDProcess.run(["status", "--store", protection.store, "--json"])
    guard status.json["guest"].string == "handed-over" else {
      throw LabError("the store says \(status.json["guest"].text) after failover")
    }
    return pages
  }
}
