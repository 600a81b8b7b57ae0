import Foundation

/// A guest's way from one stock QEMU into a store and out again into another: the main job, step by
/// step, on real peers. Each step throws what went wrong, with the words of everybody who took
/// part.
public final class Passage: Sendable {
  /// What varies from passage to passage.
  public struct Cell: Sendable, Hashable, CustomStringConvertible {
    /// Where the guest comes from.
    public var source: QEMUVersion
    /// Where it goes to.
    public var destination: QEMUVersion
    /// multifd channels in and out; 0 is plain.
    public var channels: Int
    /// `none`, `zlib` or `zstd`.
    public var compression: String
    /// What the `--compression` of `multifd send` says; nil: the same.
    public var asked: String?
    /// TLS everywhere; nil: nowhere.
    public var tls: Credentials.Kind?
    /// The guest runs while it is taken from its source; see `GuestHost.prepareToMove`.
    public var isLive = false

    /// One cell of the matrix.
    public init(
      _ source: QEMUVersion, _ destination: QEMUVersion, channels: Int, compression: String
    ) {
      self.source = source
      self.destination = destination
      self.channels = channels
      self.compression = compression
    }

    /// E.g. `7.2 -> 11.1, zstd on 2 channels`.
    public var description: String {
      "\(source) -> \(destination), "
        + (channels == 0
          ? "plain" : "\(compression) on \(channels) channel" + (channels == 1 ? "" : "s"))
        + (tls.map { " by TLS, \($0.rawValue)" } ?? "")
    }

    /// The machine type that both sides know.
    public var machine: String { source.machine(with: destination) }

    /// What `multifd send` is asked for.
    public var backend: String { asked ?? (compression == "none" ? "nocomp" : compression) }
  }

  /// The guest has arrived in the store.
  public struct TakenIn: Sendable {
    /// How the source saw it.
    public let outcome: MigrationOutcome
    /// What `multifd receive` said.
    public let receive: MultiFDProcess.Result
    /// Processor time of `multifd receive`.
    public let processorTime: Duration
    /// The last heartbeat at the source.
    public let lastHeartbeat: Int
  }

  /// The guest runs at its destination.
  public struct HandedOut: Sendable {
    /// What `multifd send` said.
    public let send: MultiFDProcess.Result
    /// How long `multifd send` ran.
    public let wall: Duration
    /// The first heartbeat at the destination.
    public let firstHeartbeat: Int
  }

  /// The cell.
  public let cell: Cell
  /// The source QEMU; its guest runs.
  public let source: QEMU
  /// The folder for the store, not yet there at the start.
  public let store: String
  private let folder: TemporaryFolder
  /// Everybody's credentials.
  public let credentials: Credentials?

  /// Starts the source with a guest saved earlier, which beats.
  ///
  /// - Parameter path: the store; nil: in a folder of its own.
  public init(_ cell: Cell, _ saved: SavedGuest, store path: String? = nil) throws {
    self.cell = cell
    folder = try TemporaryFolder(.memory(bytes: saved.machine.memory << 20))
    store = path ?? folder("store")
    credentials = try cell.tls.map(Credentials.init)
    source = try saved.start(in: cell.source)
    guard source.console.waitHeartbeat(.seconds(60)) != nil else {
      throw LabError("the guest does not beat in QEMU \(cell.source)")
    }
  }

  /// Migrates the guest from its source into the store.
  ///
  /// - Parameters:
  ///   - listen: where `multifd receive` listens.
  ///   - descriptors: what it gets as descriptors 3, 4 and so on.
  ///   - way: where the source connects; nil: where `multifd receive` says that it listens.
  public func takeIn(
    _ arguments: [String] = [], by listen: String = "tcp:127.0.0.1:0",
    passing descriptors: [Int32]? = nil, sourceTo way: String? = nil
  ) throws -> TakenIn {
    try source.prepareToMove(isLive: cell.isLive)
    let multifd = try MultiFDProcess(
      [
        "receive", "--listen", listen, "--store", store, "--channels", "\(cell.channels)",
        "--timeout", "30", "--json",
      ] + tlsArguments + arguments, passing: descriptors)
    let uri = try multifd.waitListening()
    try setup.apply(to: source, .source)
    let order = try source.startMigration(to: way ?? uri)
    // The host first: when it gives up, its reason is the better one.
    let receive = try multifd.wait()
    guard receive.code == 0 else { throw LabError("multifd receive: \(receive)") }
    let outcome = try source.waitMigration(order, .seconds(30))
    guard outcome.status == "completed" else {
      throw LabError(
        "the source says \(outcome.status): \(outcome.statistics.text) "
          + source.complaints)
    }
    guard let last = source.console.heartbeats.last else {
      throw LabError("the source's guest never beat")
    }
    return TakenIn(
      outcome: outcome, receive: receive, processorTime: multifd.process.processorTime,
      lastHeartbeat: last.number)
  }

  /// Where the store keeps the guest's main memory.
  public var storedRAM: String { store + "/ram/pc.ram" }

  /// Ends the source: from now on the store holds the only copy.
  public func endSource() { source.terminate() }

  /// Ends the source and removes the store: the passage is over.
  public func end() {
    source.terminate()
    folder.remove()
  }

  /// Starts the destination, ready for a guest, and gives its port.
  public func startDestination() throws -> (qemu: QEMU, port: Int) {
    let qemu = try startDeferred()
    return (qemu, try qemu.listen())
  }

  /// Starts the destination, which listens at a URI.
  public func startDestination(at uri: String) throws -> QEMU {
    let qemu = try startDeferred()
    try qemu.qmp.execute("migrate-incoming", ["uri": .string(uri)])
    return qemu
  }

  private func startDeferred() throws -> QEMU {
    let qemu = try QEMU(cell.destination, source.machine, incoming: "defer")
    try setup.apply(to: qemu, .destination)
    return qemu
  }

  private var setup: MigrationSetup {
    var setup = MigrationSetup(channels: cell.channels, compression: cell.compression)
    setup.tls = credentials?.qemu
    return setup
  }

  private var tlsArguments: [String] { credentials?.arguments ?? [] }

  /// The arguments of the `multifd send` of this cell to a port; `timeout` in seconds.
  public func sendArguments(_ port: Int, timeout: Int = 30) -> [String] {
    sendArguments(to: "tcp:127.0.0.1:\(port)", timeout: timeout)
  }

  private func sendArguments(to uri: String, timeout: Int) -> [String] {
    [
      "send", "--store", store, "--to", uri, "--channels", "\(cell.channels)", "--timeout",
      "\(timeout)", "--json",
    ] + (cell.channels > 0 ? ["--compression", cell.backend] : []) + tlsArguments
  }

  /// Hands the guest from the store to `destination`, where it must go on beating from where it
  /// was.
  public func handOut(to destination: QEMU, _ port: Int, after last: Int) throws -> HandedOut {
    try handOut(to: destination, by: "tcp:127.0.0.1:\(port)", after: last)
  }

  /// The same by any URI; `multifd send` gets `descriptors` as 3, 4 and so on.
  public func handOut(
    to destination: QEMU, by uri: String, passing descriptors: [Int32]? = nil, after last: Int
  ) throws -> HandedOut {
    let start = ContinuousClock.now
    let send = try MultiFDProcess(sendArguments(to: uri, timeout: 30), passing: descriptors).wait()
    let wall = start.duration(to: .now)
    guard send.code == 0 else {
      throw LabError(
        "multifd send: \(send); destination: \(destination.complaints)")
    }
    try destination.waitLoaded()
    if !cell.isLive { try destination.qmp.execute("cont") }
    try destination.waitRunning()
    guard let first = destination.console.waitHeartbeat(.seconds(60)) else {
      throw LabError("the guest does not beat at its destination \(trouble(destination))")
    }
    // The beat that was under way when the guest was taken may come out on either side.
    guard (last...last + 2).contains(first.number) else {
      throw LabError("the guest went from heartbeat \(last) to \(first.number)")
    }
    return HandedOut(send: send, wall: wall, firstHeartbeat: first.number)
  }

  /// Lets the guest check all of its memory at `destination`, and reads both consoles for damage.
  public func check(_ destination: QEMU) throws -> GuestConsole.FullCheck {
    destination.console.setRate(0)
    guard let check = destination.console.fullCheck() else {
      throw LabError("the guest does not answer at its destination \(trouble(destination))")
    }
    let trouble = trouble(destination)
    guard check.bad == 0, check.pages > 0, trouble.isEmpty else {
      throw LabError("the guest is damaged: \(check.text) \(trouble)")
    }
    return check
  }

  private func trouble(_ destination: QEMU) -> [String] {
    (source.console.trouble + destination.console.trouble).prefix(5).map { $0 }
  }
}
