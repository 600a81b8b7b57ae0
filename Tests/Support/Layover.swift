import Foundation

/// A guest's way over a link into a store, perhaps over links into further ones, and over a link
/// out again:
///
///     QEMU -> relay -(into)-> receive, send -(out)-> receive, send -(out)-> relay -> QEMU
public struct Layover: Sendable, Hashable, CustomStringConvertible {
  /// Where the guest comes from.
  public var source: QEMUVersion
  /// Where it goes to.
  public var destination: QEMUVersion
  /// multifd channels, everywhere; 0 is plain.
  public var channels = 2
  /// The relay's `--compression` on the link into the first store.
  public var into: String? = "lz4"
  /// `send --compression` on the links out of stores.
  public var out: String? = "zstd"
  /// One behind the other.
  public var stores = 1
  /// UNIX sockets instead of TCP.
  public var isLocal = false

  /// One store, lz4 on the link in, zstd on the link out.
  public init(_ source: QEMUVersion, _ destination: QEMUVersion) {
    self.source = source
    self.destination = destination
  }

  /// E.g. `11.1 -> lz4 -> 2 stores -> zstd -> 11.1, 2 channels over TCP`.
  public var description: String {
    "\(source) -> \(into ?? "-") -> \(stores == 1 ? "store" : "\(stores) stores") -> "
      + "\(out ?? "-") -> \(destination), \(channels) channels over "
      + (isLocal ? "UNIX sockets" : "TCP")
  }

  /// The machine type that both sides know.
  public var machine: String { source.machine(with: destination) }

  /// Moves the guest, and lets it check all of its memory.
  ///
  /// - Parameter arguments: for everybody who has to find backends.
  /// - Returns: how many pages it has checked.
  public func run(_ saved: SavedGuest, _ arguments: [String] = []) throws -> Int {
    let from = try saved.startBeating(in: source, isLive: false)
    defer { from.terminate() }
    let memory = try TemporaryFolder(.memory(bytes: from.machine.memory << 20))
    let sockets = try TemporaryFolder()
    defer {
      memory.remove()
      sockets.remove()
    }
    let setup = MigrationSetup(channels: channels)
    let first = try receive(memory("store0"), sockets, arguments)
    let chain = try RelayChain(
      to: "link:" + first.waitListening(), [into], sockets: isLocal ? sockets : nil, arguments)
    try setup.apply(to: from, .source)
    let order = try from.startMigration(to: chain.entry)
    try expectEnd(first, "receive")
    _ = try chain.waitOrderly()
    _ = try from.waitCompleted(order)
    let last = from.console.heartbeats.last?.number
    from.terminate()

    for number in 1..<max(1, stores) {
      let next = try receive(memory("store\(number)"), sockets, arguments)
      try send(memory("store\(number - 1)"), to: next.waitListening(), arguments)
      try expectEnd(next, "receive \(number)")
    }
    let to = try QEMU(destination, from.machine, incoming: "defer")
    defer { to.terminate() }
    try setup.apply(to: to, .destination)
    let lastChain = try RelayChain(
      to: try to.listen(isLocal ? sockets : nil), [nil], sockets: isLocal ? sockets : nil,
      arguments)
    try send(memory("store\(max(1, stores) - 1)"), to: lastChain.entry, arguments)
    _ = try lastChain.waitOrderly()
    return try to.takeUp(after: last, isLive: false).pages
  }

  private func receive(
    _ store: String, _ sockets: TemporaryFolder, _ arguments: [String]
  ) throws -> MultiFDProcess {
    let name = (store as NSString).lastPathComponent
    return try MultiFDProcess(
      [
        "receive", "--listen", isLocal ? "unix:" + sockets(name) : "tcp:127.0.0.1:0",
        "--store", store, "--json",
      ] + arguments)
  }

  private func send(_ store: String, to uri: String, _ arguments: [String]) throws {
    let compression = channels > 0 ? out.map { ["--compression", $0] } ?? [] : []
    let sent = try MultiFDProcess.run(
      ["send", "--store", store, "--to", "link:" + uri, "--channels", "\(channels)", "--json"]
        + compression + arguments)
    guard sent.code == 0 else { throw LabError("multifd send: \(sent)") }
  }

  private func expectEnd(_ process: MultiFDProcess, _ name: String) throws {
    let result = try process.wait()
    guard result.code == 0 else { throw LabError("multifd \(name): \(result)") }
  }
}
