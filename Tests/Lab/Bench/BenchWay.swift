import TestSupport

/// A guest's way from one stock QEMU into another, directly or through two relays, over a link.
struct BenchWay {
  /// What one took.
  struct Sample {
    /// From the order until the source knows that the guest has moved.
    let wall: Duration
    /// Bytes of the pages with contents.
    let contents: Int
    /// Bytes that were sent over the link.
    let wire: Int
    /// Processor time of source, near relay, far relay, destination; none of relays that are not
    /// there.
    let processor: [Duration?]
    /// What auto chose, in a few words.
    var choices = ""
  }

  private let version: QEMUVersion
  private let saved: SavedGuest
  private let setup: MigrationSetup
  private let cable: BenchRelay.Cable

  init(
    _ version: QEMUVersion, _ saved: SavedGuest, _ channels: Int, _ cable: BenchRelay.Cable
  ) {
    self.version = version
    self.saved = saved
    setup = MigrationSetup(channels: channels)
    self.cable = cable
  }

  /// Moves the guest.
  ///
  /// - Parameter format: what is on the link; nil: no relay.
  func run(_ format: String?) throws -> Sample {
    let source = try saved.start(in: version, wrapper: cable.near)
    defer { source.terminate() }
    try source.qmp.execute("stop")
    try setup.apply(to: source, .source)
    let destination = try QEMU(version, saved.machine, incoming: "defer", wrapper: cable.far)
    defer { destination.terminate() }
    try setup.apply(to: destination, .destination)
    let address = format == nil ? cable.address : "127.0.0.1"
    let uri = "tcp:\(address):\(try destination.listen(on: address))"
    let relays = try format.map { try self.relays(to: uri, $0) } ?? []
    let entry = try relays.first?.waitListening() ?? uri
    warmMemory(mebibytes: saved.machine.fill + 96)
    let watches = relays.map { ProcessorWatch($0.process) }
    let before = [source, destination].map(\.process.processorTime)
    let outcome = try source.migrate(to: entry)
    let said = try relays.map { try $0.wait() }
    guard outcome.status == "completed", said.allSatisfy({ $0.code == 0 }) else {
      throw LabError(
        (["the source says \(outcome.status)"] + said.map { "a relay \($0)" })
          .joined(separator: "; ") + destination.complaints)
    }
    try destination.waitLoaded()
    let after = [source, destination].map(\.process.processorTime)
    let statistics = outcome.statistics["ram"]
    let choices = said.first?.json["choices"].elements.map { choice in
      let packets = ["best", "incompressible"].reduce(0) { $0 + (choice[$1].int ?? 0) }
      return "\(choice["format"].string ?? "") \(packets) (\(choice["trials"].int ?? 0) more tried)"
    }
    return Sample(
      wall: outcome.wall,
      contents: (statistics["normal"].int ?? 0) * (statistics["page-size"].int ?? 4096),
      wire: said.first?.json["transferred"].int ?? statistics["transferred"].int ?? 0,
      processor: [after[0] - before[0]]
        + (relays.isEmpty ? [nil, nil] : watches.map { $0.end() })
        + [after[1] - before[1]], choices: (choices ?? []).joined(separator: ", "))
  }

  /// The one next to the source first.
  private func relays(to uri: String, _ format: String) throws -> [MultiFDProcess] {
    let far = try MultiFDProcess(
      ["relay", "--listen", "tcp:\(cable.address):0", "--insecure", "--to", uri, "--json"],
      wrapper: cable.far)
    let compression = format == "raw" ? [] : ["--compression", format]
    let near = try MultiFDProcess(
      ["relay", "--listen", "tcp:127.0.0.1:0", "--to", "link:" + far.waitListening(), "--json"]
        + compression, wrapper: cable.near)
    return [near, far]
  }
}
