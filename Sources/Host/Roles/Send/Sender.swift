import Foundation
import Memory
import Observe
import PluginLoader
import Store
import Synchronization
import Transport
import Wire

/// `multifd send`: a held guest goes into a stock QEMU that waits with `-incoming`.
///
///     connect main, then the channels in order (7.2 tells them apart by it)
///     channel: init, SYNC, pages, SYNC …       main: header, START, zero pages, END, devices, EOF
///     SHUT 0 from the destination -> the store says "handed over"
///
/// Before the bytes with which the destination could start the guest, the store says that a hand-over
/// is under way; if this process or the connection ends there, nobody knows whether the guest runs, and
/// the next `send` says so instead of starting a second copy.
public final class Sender: Sendable {
  private let options: SendOptions
  private let loader: PluginLoader
  private let state = Monitor<(failure: Failure?, sockets: [Socket])>((nil, []))

  /// A hand-over that has not begun.
  public init(_ options: SendOptions, loader: PluginLoader) {
    self.options = options
    self.loader = loader
  }

  /// Ends a hand-over from outside: a signal.
  public func cancel(_ exit: ExitCode, _ why: String) { fail(Failure(exit, "send", why)) }

  /// Hands the guest over.
  public func run() throws(Failure) -> SendSummary {
    try Failure.check(options.timeout, "send")
    do {
      let guest = try HeldGuest(openingStore: options.store, force: options.force)
      let backend = try chooseBackend(guest.manifest)
      return try run(guest, backend)
    } catch let failure as Failure {
      throw failure
    } catch {
      // A signal has cut the connection under it.
      throw state.read { $0.failure } ?? Failure(error, at: "send")
    }
  }

  private func chooseBackend(_ manifest: Manifest) throws -> (Backend, OptionValues)? {
    guard options.channels > 0 else {
      guard options.compression == nil else {
        throw Failure(
          .usage, "send", "--compression is for multifd channels, and --channels is 0")
      }
      return nil
    }
    let spec = try options.compression ?? CompressionSpec(parsing: "nocomp")
    let backend = try loader.load(named: spec.name)
    guard backend.qemuMethod != nil else {
      throw Failure(
        .refused, "backend \(backend.name)",
        "a stock QEMU does not know its wire format \(backend.wireFormat)",
        hint: "nocomp, zlib and zstd are understood by every QEMU from 7.2")
    }
    let pages = MultiFDPacketHeader.capacity(pageSize: manifest.pageSize)
    guard let bound = backend.payloadBound(pageSize: manifest.pageSize, pageCount: pages),
      bound <= 1 << 20
    else {
      throw Failure(
        .refused, "backend \(backend.name)",
        "a packet could exceed the 1 MiB that a stock QEMU can receive")
    }
    return (backend, try backend.parse(spec))
  }

  private func run(
    _ guest: HeldGuest, _ backend: (Backend, OptionValues)?
  ) throws -> SendSummary {
    let store = guest.store
    var manifest = guest.manifest
    let uuid = options.uuid ?? manifest.uuid.flatMap { VMUUID($0) } ?? .zero
    let legacy = usesLegacySync(manifest)
    let source = try PageSource(
      guest.blocks,
      pieceSize: manifest.pageSize * MultiFDPacketHeader.capacity(pageSize: manifest.pageSize),
      workers: max(options.channels, 1))

    let start = ContinuousClock.now
    // In this order, one after the other: QEMU 7.2 takes the first connection for the main channel.
    let socket = try connect()
    let sockets = try (0..<options.channels).map { _ in try connect() }
    let main = MainSender(
      socket, manifest, source, legacySync: legacy, channels: options.channels)
    let number = ChannelSender.PacketNumber()
    let workers = try sockets.enumerated().map { id, socket in
      try ChannelSender(
        id: id, channels: options.channels, socket: socket, source: source,
        backend: backend!.0, options: backend!.1, pageSize: manifest.pageSize,
        verify: options.verify, packetNumber: number)
    }
    let threads = ThreadGroup()
    defer { threads.joinAll() }
    do {
      for worker in workers { try worker.begin(uuid) }
      for (id, worker) in workers.enumerated() {
        // A worker belongs to its thread from here until the threads are joined.
        nonisolated(unsafe) let worker = worker
        try threads.start("send \(id)") { [self] in
          do {
            try worker.run(syncs: MainSender.syncsAfterStart(legacySync: legacy))
          } catch { fail(channelFailure(error, id)) }
        }
      }
      try main.begin(earlyState: guest.earlyState)
      try main.sendPages()
      threads.joinAll()
      if let failure = state.read({ $0.failure }) { throw failure }

      manifest.state = .handingOver
      manifest.handedOverTo = options.to.description
      try store.write(manifest)
      try main.end(
        deviceState: guest.deviceState, vmDescription: guest.vmDescription)
      socket.finishWriting()
      var answers = ReturnPathReader(socket)
      try answers.awaitVerdict()
    } catch {
      fail(Failure(error, at: "main channel"))
      let failure = state.read { $0.failure }!
      throw settle(failure, store, &manifest, guest.manifest.state)
    }
    manifest.state = .handedOver
    manifest.handedOverTo = "\(options.to) at \(Date.now.formatted(.iso8601))"
    try store.write(manifest)
    return summary(main, workers, manifest, backend?.0, legacy, start)
  }

  /// What the store says after a failure. Only an explicit "no" of the destination, or a failure before
  /// it could have started the guest, makes the guest ours again.
  private func settle(
    _ failure: Failure, _ store: Store, _ manifest: inout Manifest, _ before: Manifest.State
  ) -> Failure {
    guard manifest.state == .handingOver else { return failure }
    guard failure.cause == .refusedByDestination else {
      var failure = failure
      failure.why += "; whether the guest runs there is not known"
      failure.hint =
        "look at the destination; if the guest does not run there, send again with --force"
      return failure
    }
    manifest.state = before
    manifest.handedOverTo = nil
    do { try store.write(manifest) } catch { return Failure(error, at: "store") }
    return failure
  }

  private func connect() throws -> Socket {
    let socket = try Socket.connect(to: options.to, timeout: options.timeout)
    state.update { $0.sockets.append(socket) }
    return socket
  }

  private func fail(_ failure: Failure) {
    state.update { state in
      if state.failure == nil { state.failure = failure }
      for socket in state.sockets { socket.cut() }
    }
  }

  private func channelFailure(_ error: any Error, _ id: Int) -> Failure {
    var failure = Failure(error, at: "channel \(id)")
    if failure.exit == .failed || failure.exit == .unreachable {
      failure.hint =
        "a QEMU that cannot use what it gets goes silent and must be killed: check its "
        + "multifd-channels and multifd-compression"
    }
    return failure
  }

  /// QEMU 7.2, and newer ones with its machine types, sync at the end of every RAM section.
  private func usesLegacySync(_ manifest: Manifest) -> Bool {
    switch options.sync {
    case .flush: return false
    case .section: return true
    case .auto:
      if let sync = manifest.sync { return sync == "section" }
      guard let version = MachineVersion(machine: manifest.machine) else { return false }
      return version <= .lastWithSectionSync
    }
  }

  private func summary(
    _ main: MainSender, _ workers: [ChannelSender], _ manifest: Manifest, _ backend: Backend?,
    _ legacy: Bool, _ start: ContinuousClock.Instant
  ) -> SendSummary {
    let all = [main.counters] + workers.map(\.counters)
    let payload = workers.reduce(0) { $0 + $1.counters.payloadBytes }
    let normal = all.reduce(0) { $0 + $1.normal }
    let holes = manifest.ramSize / UInt64(manifest.pageSize) - normal
    return SendSummary(
      store: options.store, to: options.to.description, machine: manifest.machine,
      totalTime: (ContinuousClock.now - start) / .milliseconds(1),
      transferred: all.reduce(0) { $0 + $1.bytes }, total: manifest.ramSize, normal: normal,
      duplicate: holes, compression: backend?.name ?? "none",
      ratio: payload > 0 ? Double(normal * UInt64(manifest.pageSize)) / Double(payload) : 1,
      channels: workers.count, sync: legacy ? "section" : "flush")
  }
}
