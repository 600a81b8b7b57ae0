import Foundation

/// A guest's way from one stock QEMU through relays into another.
public struct RelayPassage: Sendable, Hashable, CustomStringConvertible {
  /// Where the guest comes from.
  public var source: QEMUVersion
  /// Where it goes to.
  public var destination: QEMUVersion
  /// multifd channels; 0 is plain.
  public var channels: Int
  /// The source's `multifd-compression`.
  public var sourceMethod = "none"
  /// The destination's.
  public var destinationMethod = "none"
  /// What each relay is told with `--compression`, the one next to the source first.
  public var relays: [String?]
  /// UNIX sockets instead of TCP.
  public var isLocal = false
  /// TLS everywhere, with one folder for all: the QEMUs' side; nil: nowhere.
  public var tls: QEMUCredentials?
  /// QEMU's capability `return-path`.
  public var returnPath = true
  /// The guest runs meanwhile; see `GuestHost.prepareToMove`.
  public var isLive = false

  /// A passage through two relays, with `compression` on the link between them.
  public init(
    _ source: QEMUVersion, _ destination: QEMUVersion, channels: Int, compression: String?
  ) {
    self.source = source
    self.destination = destination
    self.channels = channels
    relays = [compression, nil]
  }

  /// E.g. `11.1 -> 10.0, lz4/- on 2 channels over UNIX sockets`.
  public var description: String {
    let names = relays.map { $0 ?? "-" }.joined(separator: "/")
    let ends = sourceMethod == "none" && destinationMethod == "none"
    return "\(source) -> \(destination), \(names) on \(channels) channels over "
      + (isLocal ? "UNIX sockets" : "TCP")
      + (ends ? "" : ", \(sourceMethod) and \(destinationMethod) at the ends")
      + (tls == nil ? "" : " by TLS") + (returnPath ? "" : ", no return path")
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
  /// - Parameter arguments: for all relays.
  /// - Throws: what went wrong, with the words of everybody who took part.
  public func run(_ saved: SavedGuest, _ arguments: [String] = []) throws -> Report {
    let from = try saved.startBeating(in: source, isLive: isLive)
    defer { from.terminate() }
    let to = try QEMU(destination, from.machine, incoming: "defer")
    defer { to.terminate() }
    var setup = MigrationSetup(
      channels: channels, compression: destinationMethod, returnPath: returnPath)
    setup.tls = tls
    try setup.apply(to: to, .destination)
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let chain = try RelayChain(
      to: try to.listen(isLocal ? folder : nil), relays, sockets: isLocal ? folder : nil,
      arguments + (tls.map { ["--tls-creds", $0.folder] } ?? []))
    setup.compression = sourceMethod
    try setup.apply(to: from, .source)
    let order = try from.startMigration(to: chain.entry)
    let said = try chain.waitOrderly()
    let outcome = try from.waitCompleted(order)
    let last = from.console.heartbeats.last?.number
    from.terminate()
    try judge(said)
    let check = try to.takeUp(after: last, isLive: isLive)
    return Report(outcome: outcome, relays: said, pages: check.pages)
  }

  /// Each relay has done what it was told, and no more.
  private func judge(_ said: [MultiFDProcess.Result]) throws {
    var coming = sourceMethod
    for (index, relay) in said.enumerated() {
      let expected = returnPath ? "migrated" : "passed"
      guard relay.json["result"].string == expected,
        relay.json["channels"].elements.count == channels
      else { throw LabError("relay \(index) says \(relay)") }
      guard channels > 0 else { continue }
      let name = relays[index]?.prefix { $0 != "," && $0 != "=" }
      let toQEMU = index == relays.count - 1
      if let name {
        // QEMU's word alone is not that backend's name.
        let isWord = relays[index] == "zlib" && Lab.igzipUnavailable == nil
        let backend = isWord ? "igzip" : String(name)
        guard name == "auto" || relay.json["compression"].string == backend else {
          throw LabError(
            "relay \(index) has sent \(relay.json["compression"].text), not \(backend)")
        }
        coming = String(name)
      } else if index == 0 || !toQEMU || ["none", "nocomp"].contains(coming) {
        try expectUntouched(relay, index)
      } else {
        coming = "none"
      }
      try expectSmaller(relay, index)
    }
  }

  /// What was told nothing has passed payloads on, and did not look inside.
  private func expectUntouched(_ relay: MultiFDProcess.Result, _ index: Int) throws {
    for channel in relay.json["channels"].elements
    where channel["received"].int != channel["transferred"].int || channel["codec-time"].double != 0
    {
      throw LabError("relay \(index) has touched payloads: \(channel.text)")
    }
  }

  /// The guest's text gets smaller where pages that came as they are go on compressed.
  private func expectSmaller(_ relay: MultiFDProcess.Result, _ index: Int) throws {
    let small = ["zlib", "zstd", "lz4", "igzip"]
    guard index == 0, sourceMethod == "none", let name = relays[0], small.contains(name),
      let (received, sent) = relay.received
    else { return }
    guard sent < received * 3 / 4 else {
      throw LabError("\(name) has made \(sent) bytes of \(received)")
    }
  }
}

extension MultiFDProcess.Result {
  /// Bytes that a relay has received and sent on.
  fileprivate var received: (Int, Int)? {
    guard let received = json["received"].int, let sent = json["transferred"].int else {
      return nil
    }
    return (received, sent)
  }
}
