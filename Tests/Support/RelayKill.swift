import Foundation

/// One of the processes of a migration through two relays is killed in the middle of it: afterwards
/// the guest is on exactly one side, whole, and nobody waits.
public struct RelayKill: Sendable {
  /// Who is killed.
  public enum Victim: Int, Sendable, CaseIterable {
    case source, nearRelay, farRelay, destination
  }

  /// How a round ended.
  public enum End: String, Sendable {
    /// The guest goes on at its source.
    case stayed
    /// It goes on at its destination.
    case moved
    /// It was in the process that was killed.
    case died
  }

  /// Who is killed.
  public var victim: Victim
  /// Of a relay: the process that works, and not the one that watches it.
  public var worker = false
  /// Seconds into the migration.
  public var after: Double
  /// QEMU's version at both ends.
  public var version: QEMUVersion
  /// On the link.
  public var compression: String? = "lz4"

  /// Seconds of silence after which a relay gives up.
  private static let timeout = 5

  /// A round.
  public init(_ victim: Victim, after: Double, version: QEMUVersion = .v111) {
    self.victim = victim
    self.after = after
    self.version = version
  }

  /// Plays it.
  ///
  /// - Throws: when somebody waits for too long, something is left, or the guest is not whole.
  public func run(_ saved: SavedGuest) throws -> End {
    let from = try saved.start(in: version)
    defer { from.terminate() }
    guard from.console.waitHeartbeat(.seconds(60)) != nil else { throw LabError("no heartbeat") }
    // As libvirt does: the guest is started there when the source has let go of it, not before.
    let to = try QEMU(version, from.machine, incoming: "defer", arguments: ["-S"])
    defer { to.terminate() }
    var setup = MigrationSetup(channels: 2, returnPath: true)
    // A second or so for the whole migration.
    setup.maxBandwidth = 64 << 20
    try setup.apply(to: to, .destination)
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let chain = try RelayChain(
      to: try to.listen(nil), [compression, nil], sockets: folder,
      ["--timeout", "\(Self.timeout)"])
    let workers = chain.relays.compactMap(\.process.worker)
    try setup.apply(to: from, .source)
    from.console.setRate(1)
    let order = try from.startMigration(to: chain.entry)
    Thread.sleep(forTimeInterval: after)
    kill(from, to, chain)
    let killed = ContinuousClock.now

    for (index, relay) in chain.relays.enumerated() {
      guard relay.process.wait(.seconds(Self.timeout + 5)) != nil else {
        throw LabError("relay \(index) still waits: \(relay.process.errors.text.suffix(300))")
      }
    }
    let wait = killed.duration(to: .now)
    guard wait < .seconds(Self.timeout + 3) else { throw LabError("they have waited for \(wait)") }
    for pid in workers where Self.isAlive(pid) { throw LabError("process \(pid) is left") }
    return try judge(from, order, to)
  }

  private func kill(_ from: QEMU, _ to: QEMU, _ chain: RelayChain) {
    func end(_ relay: MultiFDProcess) {
      if worker, let pid = relay.process.worker {
        Glibc.kill(pid, SIGKILL)
      } else {
        relay.process.kill()
      }
    }
    switch victim {
    case .source: from.process.kill()
    case .nearRelay: end(chain.relays[0])
    case .farRelay: end(chain.relays[1])
    case .destination: to.process.kill()
    }
  }

  /// Looks where the guest is, and lets it check its memory there.
  private func judge(_ from: QEMU, _ order: MigrationOrder, _ to: QEMU) throws -> End {
    if victim == .source {
      guard Self.hasLoaded(to) else { return .died }
      return try check(to, .moved)
    }
    let outcome = try from.waitMigration(order, .seconds(Double(Self.timeout) + 10))
    if outcome.status == "completed" {
      guard victim != .destination else { return .died }
      guard Self.hasLoaded(to) else {
        throw LabError("the source has let go of a guest that is nowhere: \(to.complaints)")
      }
      return try check(to, .moved)
    }
    try from.waitRunning()
    return try check(from, .stayed)
  }

  /// Whether a destination has all of the guest; one that has only a part of it ends, or fails.
  private static func hasLoaded(_ to: QEMU) -> Bool {
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, to.process.isRunning {
      guard let status = try? to.status() else { return false }
      if ["paused", "prelaunch", "running"].contains(status) {
        let migration = try? to.qmp.execute("query-migrate")["status"].string
        return migration == "completed"
      }
      Thread.sleep(forTimeInterval: 0.05)
    }
    return false
  }

  private func check(_ qemu: QEMU, _ end: End) throws -> End {
    if end == .moved { try qemu.qmp.execute("cont") }
    _ = try qemu.checkMemory()
    return end
  }

  private static func isAlive(_ pid: pid_t) -> Bool {
    // A zombie of somebody else's is gone for all that matters here.
    guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return false }
    let text = String(decoding: stat, as: UTF8.self)
    return text.split(separator: ")").last?.split(separator: " ").first != "Z"
  }
}
