import Foundation

/// A guest's way from one stock QEMU through relays into another, live where the source can.
public struct RelayPassage: Sendable, Hashable, CustomStringConvertible {
  /// Where the guest comes from.
  public var source: QEMUVersion
  /// Where it goes to.
  public var destination: QEMUVersion
  /// multifd channels; 0 is plain.
  public var channels: Int
  /// QEMU's own `multifd-compression`, on both ends.
  public var method = "none"
  /// What each relay is told with `--compression`, the one next to the source first.
  public var relays: [String?]
  /// UNIX sockets instead of TCP.
  public var isLocal = false
  /// QEMU's capability `return-path`.
  public var returnPath = true

  /// A passage through two relays, with `compression` on the link between them.
  public init(
    _ source: QEMUVersion, _ destination: QEMUVersion, channels: Int, compression: String?
  ) {
    self.source = source
    self.destination = destination
    self.channels = channels
    relays = [compression, nil]
  }

  /// E.g. `11.1 -> 10.0, lz4 on 2 channels over UNIX sockets`.
  public var description: String {
    let names = relays.map { $0 ?? "-" }.joined(separator: "/")
    return "\(source) -> \(destination), \(names) on \(channels) channels over "
      + (isLocal ? "UNIX sockets" : "TCP") + (method == "none" ? "" : ", \(method) at the ends")
      + (returnPath ? "" : ", no return path")
  }

  /// The machine type that both sides know.
  public var machine: String { source.machine(with: destination) }

  /// What came of it.
  public struct Report: Sendable {
    /// How the source saw it.
    public let outcome: MigrationOutcome
    /// What the relays said, the one next to the source first.
    public let relays: [MultiFDProcess.Result]
    /// Pages that the guest has checked in the end.
    public let pages: Int
  }

  /// Moves the guest, and lets it check all of its memory.
  ///
  /// - Throws: what went wrong, with the words of everybody who took part.
  public func run(_ saved: SavedGuest, plugins: [String] = []) throws -> Report {
    let from = try saved.start(in: source)
    defer { from.terminate() }
    guard from.console.waitHeartbeat(.seconds(60)) != nil else {
      throw LabError("the guest does not beat in QEMU \(source)")
    }
    let to = try QEMU(destination, from.machine, incoming: "defer")
    defer { to.terminate() }
    let setup = MigrationSetup(channels: channels, compression: method, returnPath: returnPath)
    try setup.apply(to: to, .destination)
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let uri: String
    if isLocal {
      uri = "unix:" + folder("incoming")
      try to.qmp.execute("migrate-incoming", ["uri": .string(uri)])
    } else {
      uri = "tcp:127.0.0.1:\(try to.listen())"
    }
    let last = relays.indices.map {
      method == "none" || $0 < relays.count - 1 ? relays[$0] : method
    }
    let chain = try RelayChain(to: uri, last, sockets: isLocal ? folder : nil, plugins)
    // A 7.2 source under TCG loses writes of a running guest by itself: its guest is stopped
    // before.
    let isLive = source > .v72
    if isLive {
      from.console.setMix("text")
      from.console.setRate(2)
    } else {
      try from.qmp.execute("stop")
    }
    try setup.apply(to: from, .source)
    let order = try from.startMigration(to: chain.entry)
    let said = try chain.wait()
    if let bad = said.firstIndex(where: { $0.code != 0 }) {
      throw LabError("relay \(bad): \(said[bad])")
    }
    let outcome = try from.waitMigration(order, .seconds(30))
    guard outcome.status == "completed" else {
      throw LabError("the source says \(outcome.status): \(outcome.statistics.text)")
    }
    guard let before = from.console.heartbeats.last?.number else {
      throw LabError("the source's guest never beat")
    }
    from.terminate()
    try to.waitLoaded()
    if !isLive { try to.qmp.execute("cont") }
    try to.waitRunning()
    guard let beat = to.console.waitHeartbeat(.seconds(60)),
      (before...before + 2).contains(beat.number)
    else {
      throw LabError(
        "the guest does not go on from heartbeat \(before): "
          + "\(to.console.heartbeats.first.map { "\($0.number)" } ?? "none")")
    }
    to.console.setRate(0)
    guard let check = to.console.fullCheck() else { throw LabError("the guest does not answer") }
    guard check.bad == 0, check.pages > 0 else { throw LabError("damaged: \(check.text)") }
    return Report(outcome: outcome, relays: said, pages: Int(check.pages))
  }
}
