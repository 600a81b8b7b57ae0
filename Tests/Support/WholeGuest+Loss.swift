import Foundation

extension WholeGuest {
  /// MiB: enough for the logs of two disks, and soon filled.
  public static let smallRoom = 32

  /// What is lost.
  public enum Loss: String, Sendable, CaseIterable {
    /// The primary's machine: its QEMU, and `multifd protect` beside it.
    case primary
    /// The primary's QEMU alone: `multifd protect` tells the standby, and ends.
    case qemu
    /// The standby, by SIGKILL: its guest goes on at the primary, which is killed later.
    case standby
    /// Both within a few milliseconds.
    case both
    /// The disks' connections, which can be made anew at once.
    case disks
    /// All connections between the two.
    case link
    /// The standby is there and does nothing any more (SIGSTOP): only `multifd protect` notices.
    case hang
    /// Only its disks' server does nothing any more: a relay that lets nothing through.
    case server
    /// The file system of its disks' logs is full.
    case full

    /// The primary's guest goes on for a while.
    public var leavesPrimary: Bool { self != .primary && self != .both && self != .qemu }
  }

  /// What came of it.
  public struct Outcome: Sendable {
    /// The checkpoint that the guest has gone on from.
    public var checkpoint = 0
    /// The images next to the memory in the store, before the guest went on; empty where it went on
    /// by itself.
    public var offline: [OfflineDisk] = []
    /// What the guest found itself.
    public var check: GuestConsole.DiskCheck
    /// The last number of each kind that had left the primary.
    public var released: [PacketWitness.Kind: Int] = [:]
    /// Numbers that are missing between the first and the last packet of a kind: what was held when
    /// `multifd protect` was killed, and nothing else.
    public var missing = 0
    /// How long the echo's answers took while it was protected.
    public var trips: [Duration] = []
    /// From the loss to the guest's first step elsewhere, on that QEMU's own clock; or, where it went
    /// on alone at the primary, ``WholeGuest/silence(since:)``.
    public var silence = Duration.zero
  }

  /// Loses it, lets the guest go on elsewhere, and judges what it finds there.
  ///
  /// - Throws: ``Inconsistency`` where the guest is not as it should be; ``LabError`` where it did
  ///   not come so far.
  public func lose(_ loss: Loss, _ random: inout some RandomNumberGenerator) throws -> Outcome {
    if setup.onLoss == .failover {
      // The QEMU of the rehearsal has had the same sockets.
      _ = standby.process.errors.wait(.seconds(60)) { $0.text.contains("rehearsed: ") ? () : nil }
      place.attach()
    }
    if setup.onLoss == .spare, !place.isAttached { place.attach() }
    var seen = wire.seen
    let trips = seen.trips
    let lostAt = Self.wallClock
    let lost = Moment(protect)
    try take(loss, &random)
    let isSilent = loss == .hang || loss == .server
    let reports = isSilent ? [] : try standbysEnd(loss)
    let alone = loss.leavesPrimary ? try waitAlone(since: lost) : nil
    if loss.leavesPrimary {
      guard let check = primary.console.diskCheck(), check.bad == 0 else {
        throw Inconsistency("the primary's own disks: \(primary.console.trouble.prefix(3))")
      }
    }
    if isSilent {
      if loss == .hang { signalStandby(SIGCONT) } else { links[1].goOn() }
      _ = try standbysEnd(loss)
    }
    primary.killNow()
    guard wire.waitUnplugged() else { throw LabError("the wire of a dead QEMU stays open") }
    if loss == .primary || loss == .qemu { seen = wire.seen }
    let table = setup.onLoss == .hold ? try lookOffline() : nil
    let report =
      setup.onLoss == .hold ? try failOver(force: loss.leavesPrimary) : reports.last ?? .null
    guard let pid = report["pid"].int else { throw LabError("no failover: \(report.text)") }
    let survivor = try place.qemu(pid: pid)
    defer { survivor.killNow() }
    if report["status"].string == "paused" { try survivor.qmp.execute("cont") }
    guard let resumedAt = survivor.waitRunning(.seconds(30)) else {
      throw LabError("the new QEMU never ran: \(report.text)")
    }
    let check = try checkDisks(survivor)
    var outcome = Outcome(check: check)
    outcome.checkpoint = report["checkpoint"].int ?? 0
    outcome.offline = table?.disks ?? []
    outcome.silence = alone ?? (resumedAt - lostAt)
    outcome.trips = trips
    let packets = PacketVerdict(
      before: seen, memory: table?.table, all: wire.seen, after: try waitPackets())
    (outcome.released, outcome.missing) = (packets.released, packets.missing)
    if setup.way == .protect || !setup.holdsPackets { try packets.judge() }
    return outcome
  }

  private func take(_ loss: Loss, _ random: inout some RandomNumberGenerator) throws {
    switch loss {
    case .primary: killPrimary(&random)
    case .qemu:
      primary.process.kill()
      guard let protect else { return }
      let result = try protect.wait(.seconds(30))
      guard result.code == 3 else { throw Inconsistency("multifd protect ended with \(result)") }
    case .standby: signalStandby(SIGKILL)
    case .hang: signalStandby(SIGSTOP)
    case .server: links[1].hang()
    case .full: try room?.fill()
    case .both:
      let pause = Double.random(in: 0...0.003, using: &random)
      if Bool.random(using: &random) {
        signalStandby(SIGKILL)
        Thread.sleep(forTimeInterval: pause)
        killPrimary(&random)
      } else {
        killPrimary(&random)
        Thread.sleep(forTimeInterval: pause)
        signalStandby(SIGKILL)
      }
    case .disks:
      plain?.end()
      links[1].cutAll()
    case .link: for link in links { link.close() }
    }
  }

  /// All processes of the primary's machine, QEMU or `multifd protect` first.
  private func killPrimary(_ random: inout some RandomNumberGenerator) {
    if Bool.random(using: &random) {
      primary.process.kill()
      killProtect()
    } else {
      killProtect()
      primary.process.kill()
    }
  }

  /// The process that works, and the one that watches it.
  func signalStandby(_ signal: Int32) {
    let worker = standby.process.worker
    standby.process.kill(signal)
    if let worker { kill(worker, signal) }
  }

  /// Waits for the standby's end; gives what it reported.
  private func standbysEnd(_ loss: Loss) throws -> [JSON] {
    if loss == .standby || loss == .both {
      guard standby.process.wait(.seconds(10)) != nil else { throw LabError("it lives") }
      return []
    }
    let result = try standby.wait(.seconds(30))
    guard loss != .full || result.errors.contains("no room for a write") else {
      throw LabError("the standby does not say that there is no room: \(result)")
    }
    let expected: Int32 = setup.onLoss == .hold ? 3 : 5
    guard result.code == expected || loss.leavesPrimary else {
      throw LabError("the standby ended with \(result)")
    }
    return JSON.objects(in: result.output)
  }

  /// - Parameter force: `multifd protect` may have said that the guest goes on at its primary,
  ///   which is dead by now.
  private func failOver(force: Bool) throws -> JSON {
    let words =
      ["failover", "--store", store, "--fence", "true", "--json"] + (force ? ["--force"] : [])
      + ["--"]
    let result = try MultiFDProcess.run(words + place.command)
    guard result.code == 5, let summary = JSON.objects(in: result.output).first else {
      throw LabError("multifd failover: \(result)")
    }
    return summary
  }

  /// The images next to the memory in the store, which no guest has touched since.
  func lookOffline() throws -> (table: GuestTable, disks: [OfflineDisk]) {
    plain?.end()
    // Whoever opens a store that was left in the middle brings it to its checkpoint, and this one
    // starts no guest.
    let words = ["failover", "--force", "--store", store, "--fence", "true", "--", "/bin/false"]
    let none = try MultiFDProcess.run(words)
    guard none.code == 1 else { throw LabError("multifd failover into nothing: \(none)") }
    let table = try GuestTable(ram: store + "/ram/pc.ram")
    let disks = try images.indices.map { try OfflineDisk(table, disk: $0, image: images[$0]) }
    guard !disks.contains(where: { $0.bad > 0 }) else {
      throw Inconsistency(
        "disks before the guest went on: \(disks.map { "\($0)" }.joined(separator: "; ")); "
          + "\(table.issued) writes begun, \(table.completed) completed, "
          + "in flight \(table.flights.map(\.entry.seq))")
    }
    return (table, disks)
  }

  /// The guest looks at its disks, twice: it goes on writing.
  private func checkDisks(
    _ survivor: FailedOverQEMU
  ) throws -> GuestConsole.DiskCheck {
    guard let check = survivor.console.diskCheck() else {
      throw LabError("the guest does not answer: \(survivor.console.log.text.suffix(300))")
    }
    guard check.bad == 0 else { throw Inconsistency("disks: \(check.text)") }
    Thread.sleep(forTimeInterval: 0.3)
    guard let again = survivor.console.diskCheck() else {
      throw Inconsistency("the guest has stopped: \(survivor.console.log.text.suffix(600))")
    }
    guard again.bad == 0, survivor.console.trouble.isEmpty else {
      throw Inconsistency(
        "the guest goes on badly: \(again.text) \(survivor.console.trouble.prefix(3))")
    }
    return check
  }

  private func waitPackets() throws -> PacketWitness.Seen {
    let all = laterWire.wait(.seconds(30)) { $0.hasEveryKind && !$0.trips.isEmpty ? $0 : nil }
    guard let all else { throw LabError("the guest is mute where it went on") }
    return all
  }

  static var wallClock: Duration { .seconds(Date().timeIntervalSince1970) }
}

/// A guest is not as it should be: what the lab is for.
public struct Inconsistency: Error, CustomStringConvertible {
  /// What is wrong.
  public let description: String

  /// One that says `description`.
  public init(_ description: String) { self.description = description }
}
