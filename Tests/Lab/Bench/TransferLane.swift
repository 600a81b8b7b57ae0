import Glibc
import TestSupport

/// A stopped guest's passages from one stock QEMU to another, into a store and out of it, and
/// through relays: of one machine, over so many channels, with one compression.
///
/// The source stays: a QEMU whose guest has migrated away can go on with it, and send it again.
final class TransferLane {
  /// What one passage took.
  struct Sample {
    /// From the order until it is known that the guest has moved.
    let wall: Duration
    /// Processor time of all of `multifd`'s processes.
    let processor: Duration
  }

  /// What a passage between stock QEMUs took.
  struct StockSample {
    let wall: Duration
    let source: Duration
    let destination: Duration
    /// Bytes of pages with contents.
    let contents: Int
  }

  private let version: QEMUVersion
  private let machine: QEMU.Machine
  private let setup: MigrationSetup
  private let credentials: Credentials?
  private let source: QEMU

  /// Starts the source.
  ///
  /// - Parameters:
  ///   - compression: QEMU's: none, zlib, zstd.
  ///   - isTLS: all of it by TLS, with certificates.
  init(
    _ version: QEMUVersion, _ saved: SavedGuest, channels: Int, compression: String,
    isTLS: Bool = false
  ) throws {
    (self.version, machine) = (version, saved.machine)
    credentials = isTLS ? try Credentials(.x509) : nil
    var setup = MigrationSetup(channels: channels, compression: compression)
    setup.tls = credentials?.qemu
    self.setup = setup
    source = try saved.start(in: version)
    try source.qmp.execute("stop")
  }

  /// Ends the source.
  func end() { source.terminate() }

  /// Stock to stock.
  func stock() throws -> StockSample {
    try ready()
    let report = try StockMigration.run(source, to: version, setup)
    defer { report.destination.terminate() }
    let pages = report.outcome.statistics["ram"]
    return StockSample(
      wall: report.outcome.wall, source: report.sourceProcessorTime,
      destination: report.destinationProcessorTime,
      contents: (pages["normal"].int ?? 0) * (pages["page-size"].int ?? 4096))
  }

  /// Stock to `multifd receive`.
  ///
  /// - Parameters:
  ///   - backend: which one reads the payloads; nil: the compression's own.
  ///   - arguments: more for `multifd`.
  ///   - watch: is given `multifd` when it listens.
  func receive(
    _ store: String, backend: String? = nil, arguments: [String] = [],
    watch: (MultiFDProcess) -> Void = { _ in }
  ) throws -> Sample {
    try ready()
    let choice = backend.map { ["--compression", $0] } ?? []
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "tcp:127.0.0.1:0", "--store", store, "--json"] + choice
        + (credentials?.arguments ?? []) + arguments)
    let processor = ProcessorWatch(multifd.process)
    let uri = try multifd.waitListening()
    watch(multifd)
    try setup.apply(to: source, .source)
    let outcome = try source.migrate(to: uri)
    let result = try multifd.wait()
    guard result.code == 0, outcome.status == "completed" else {
      throw LabError("the source says \(outcome.status), multifd receive: \(result)")
    }
    return Sample(wall: outcome.wall, processor: processor.end())
  }

  /// `multifd send` to stock, from a store that keeps its guest.
  func send(_ store: String, backend: String) throws -> Sample {
    let destination = try QEMU(version, machine, incoming: "defer")
    defer { destination.terminate() }
    try setup.apply(to: destination, .destination)
    let port = try destination.listen()
    warmMemory(mebibytes: machine.fill + 96)
    let start = ContinuousClock.now
    let multifd = try MultiFDProcess(
      [
        "send", "--store", store, "--to", "tcp:127.0.0.1:\(port)", "--channels",
        "\(setup.channels)", "--compression", backend, "--json", "--force",
      ] + (credentials?.arguments ?? []))
    let processor = ProcessorWatch(multifd.process)
    let result = try multifd.wait()
    let wall = start.duration(to: .now)
    guard result.code == 0 else {
      throw LabError("multifd send: \(result) \(destination.complaints)")
    }
    return Sample(wall: wall, processor: processor.end())
  }

  /// Stock to stock, both without compression, through two relays with it on the link between them.
  func relays(backend: String) throws -> Sample {
    try ready()
    let destination = try QEMU(version, machine, incoming: "defer")
    defer { destination.terminate() }
    var plain = MigrationSetup(channels: setup.channels)
    plain.tls = setup.tls
    try plain.apply(to: source, .source)
    try plain.apply(to: destination, .destination)
    let uri = "tcp:127.0.0.1:\(try destination.listen())"
    let wish = backend == "nocomp" ? nil : backend
    let chain = try RelayChain(to: uri, [wish, nil], credentials?.arguments ?? [])
    defer { chain.end() }
    let processors = chain.relays.map { ProcessorWatch($0.process) }
    let outcome = try source.migrate(to: chain.entry)
    guard outcome.status == "completed" else {
      throw LabError("the source says \(outcome.status): \(chain.complaints)")
    }
    _ = try chain.waitOrderly()
    return Sample(
      wall: outcome.wall, processor: processors.map { $0.end() }.reduce(.zero, +))
  }

  /// Has the guest at the source once more, stopped.
  private func ready() throws {
    if try source.status() == "postmigrate" {
      try source.qmp.execute("cont")
      try source.waitRunning()
      try source.qmp.execute("stop")
    }
    warmMemory(mebibytes: machine.fill + 96)
  }
}

/// Touches as much memory as a destination is about to, which is what the guest has written: in a
/// virtual machine the first touch of a page may cost its host more than all else here, and only
/// one of the ways would pay.
func warmMemory(mebibytes: Int) {
  let size = mebibytes << 20
  let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
  guard let memory, memory != MAP_FAILED else { return }
  // Mapped above with that size, and nobody else knows it. In pieces of QEMU's kind.
  madvise(memory, size, MADV_HUGEPAGE)
  for offset in stride(from: 0, to: size, by: 4096) {
    memory.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
  }
  munmap(memory, size)
}
