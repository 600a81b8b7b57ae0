import Migration
import Observe
import PluginLoader
import Store
import Synchronization
import System
import Transport
import Wire

/// One attempt to hand a guest over, from the first connection to what the store says afterwards.
final class SendAttempt {
  let options: SendOptions
  let guest: HeldGuest
  private let route: SendRoute
  let control: HandoverControl
  private let offer: Offer
  private let manifest: Manifest
  /// What the far side has, as this side has it.
  private let old: OldPages?
  /// The store may say that a hand-over has begun, though nobody has got anything.
  var mayNeedForce = false

  init(
    _ options: SendOptions, _ guest: HeldGuest, _ route: SendRoute, _ control: HandoverControl
  ) throws {
    self.options = options
    self.guest = guest
    self.route = route
    self.control = control
    manifest = guest.manifest
    old = try options.reference.map {
      try OldPages(at: $0, for: guest.blocks, pageSize: guest.manifest.pageSize)
    }
    let known = options.uuid ?? manifest.uuid.flatMap { VMUUID($0) }
    offer = Offer(
      manifest: manifest,
      uuid: known ?? (options.channels > 0 ? FirmwareUUID.find(in: guest.blocks) : nil) ?? .zero,
      channels: options.channels,
      compression: route.formats.first?.backend.profile.qemuMethodName ?? "none"
    )
  }

  func run() throws -> SendSummary {
    let start = ContinuousClock.now
    // In this order, one after the other: QEMU 7.2 takes the first connection for the main channel.
    let socket = try connect { () throws(Failure) in try route.main() }
    let far = try route.reference(
      from: socket, for: guest.blocks, pageSize: manifest.pageSize)
    let source = try PageSource(
      guest.blocks,
      pieceSize: manifest.pageSize * MultiFDPacketHeader.capacity(pageSize: manifest.pageSize),
      workers: max(options.channels, 1), far: far)
    control.adopt(source)
    let main = MainSender(
      socket, manifest, source, sync: SyncPoints(options.sync, manifest),
      channels: options.channels)
    control.facts.withLock {
      $0 = HandoverControl.Facts(
        machine: manifest.machine, ram: manifest.ramSize,
        backends: route.formats.map(\.backend.name), dialect: route.dialect)
    }
    control.moved.withLock { $0 = [("main", main.counters)] }
    let check = PayloadCheckPlan(options.verify, route.formats)
    let numbers = PacketWriter.Numbers()
    var (sockets, workers): ([Socket], [ChannelSender]) = ([], [])
    for id in 0..<options.channels {
      let socket = try connect(channel: id)
      let worker = try ChannelSender(
        id: id, channels: options.channels, socket: socket, source: source,
        formats: route.formats, pageSize: manifest.pageSize,
        verification: verification(check, id, source), numbers: numbers, deltas: try deltas(id, far)
      )
      // At once: with TLS a QEMU waits for it, and does no other handshake meanwhile.
      do { try worker.begin(offer.uuid) } catch {
        control.fail { offer.failure(error, at: .channel(id), in: $0) }
        throw control.failure!
      }
      sockets.append(socket)
      workers.append(worker)
      control.moved.withLock { $0.append(("\(id)", worker.counters)) }
    }
    let threads = ThreadGroup()
    // After a failure has cut their connections.
    defer { control.join(threads) }
    var answers = ReturnPathReader(socket)
    let handOver: HandOver
    do {
      try begin(main, sockets, &answers)
      try sendRAM(main, workers, threads, &answers)
      try expectOpen(sockets, &answers)
      handOver = try beginHandOver()
    } catch {
      var failure = failed(error)
      // Whatever has ended it: what the store says counts more.
      if mayNeedForce { failure.hint = Self.mayNeedForce }
      throw failure
    }
    do {
      try main.end(guest)
      socket.finishWriting()
      try answers.awaitVerdict()
    } catch { throw settle(handOver, failed(error)) }
    // From here on it is known, whatever a backend does when its channels are closed.
    control.settled()
    // A QEMU from 10.0 on wants to hear it where there is TLS.
    for socket in sockets { socket.finishWriting() }
    defer { withExtendedLifetime(workers) {} }
    let unchanged = UInt64(source.unchanged)
    var summary = SendSummary(
      options, manifest, main, workers, route.formats + [route.deltas].compactMap(\.self),
      unchanged: unchanged, since: start)
    summary.verified = check.told
    if let far {
      (summary.unchanged, summary.referenceBytes) = (unchanged, far.bytes)
      if old != nil { summary.differences = UInt64(workers.reduce(0) { $0 + $1.deltaPages }) }
    }
    // The guest runs there. What goes wrong now changes nothing about that.
    do { try handOver.taken(by: options.to.description) } catch {
      summary.warning =
        "the guest runs at \(options.to), but its store cannot say so (\(error)): it says "
        + "'handing-over'. Do not send or continue it again: there would be two"
    }
    return summary
  }

  /// How what a channel sends is checked.
  private func verification(
    _ check: PayloadCheckPlan, _ id: Int, _ source: PageSource
  ) -> PacketEncoders.Verification? {
    guard options.verify != .none else { return nil }
    return PacketEncoders.Verification(isSample: check.isSample, pagesOf: source) {
      [control, offer] error in
      control.fail { offer.failure(error, at: .channel(id), in: $0) }
    }
  }

  /// What a channel sends as differences; nil: nothing.
  private func deltas(_ id: Int, _ far: FarPages?) throws -> DeltaSender? {
    guard let far, let old, let format = route.deltas else { return nil }
    let encoder = try PacketEncoder(
      format, id: id, channels: options.channels, pageSize: manifest.pageSize,
      verify: options.verify != .none)
    return DeltaSender(encoder, far, old, pageSize: manifest.pageSize)
  }

  private func connect(_ body: () throws(Failure) -> Socket) throws(Failure) -> Socket {
    let socket = try body()
    try control.adopt(socket)
    return socket
  }

  /// A QEMU that has all the connections it expects may leave others unanswered.
  private func connect(channel id: Int) throws(Failure) -> Socket {
    do {
      return try connect { () throws(Failure) in try route.channel(id) }
    } catch {
      var failure = error
      if !options.to.isLink, control.failure == nil {
        failure.what = "channel \(id)"
        failure.hint =
          "main channel and \(id) of \(options.channels) channels are connected: are there fewer "
          + "multifd-channels at the destination, or is multifd off? The guest is safe in its store"
      }
      throw failure
    }
  }

  // MARK: RAM

  /// Waits until the destination loads: it has all of its connections then.
  private func begin(
    _ main: MainSender, _ sockets: [Socket], _ answers: inout ReturnPathReader
  ) throws {
    try main.begin()
    let deadline = ContinuousClock.now + .seconds(options.timeout)
    // QEMU 7.2 only closes a channel whose UUID is not its own, and waits on.
    while try !answers.hearsPong(MainSender.Ping.begin, within: min(0.25, options.timeout)) {
      if let id = closed(sockets) {
        let error = TransportError(.closed, "\(options.to) closed the connection")
        control.fail { offer.failure(error, at: .channel(id), in: $0) }
        throw error
      }
      guard .now < deadline else { throw TransportError(.timedOut, "\(options.to) is silent") }
    }
    try control.enter(.ram)
  }

  /// A channel that the destination has closed. It never says anything on one: there is something
  /// to read only at its end.
  private func closed(_ sockets: [Socket]) -> Int? {
    sockets.firstIndex { $0.waitReadable(seconds: 0) }
  }

  /// Sends all that cannot start the guest, and waits until the destination has taken it.
  private func sendRAM(
    _ main: MainSender, _ workers: [ChannelSender], _ threads: ThreadGroup,
    _ answers: inout ReturnPathReader
  ) throws {
    try main.start(earlyState: guest.earlyState)
    let syncs = try agreeOnSync(main, &answers)
    for (id, worker) in workers.enumerated() {
      // A worker belongs to its thread from here until the threads are joined.
      nonisolated(unsafe) let worker = worker
      try threads.start("send \(id)") { [control, offer] in
        do { try worker.run(syncs: syncs) } catch {
          control.fail { offer.failure(error, at: .channel(id), in: $0) }
        }
      }
    }
    try main.sendPages()
    threads.joinAll()
    if let failure = control.failure { throw failure }
    try main.endPages()
    try answers.awaitPong(MainSender.Ping.ram)
  }

  /// How the destination syncs, where that is not known: by whether it goes on behind START without
  /// SYNCs.
  ///
  /// - Returns: what every channel owes.
  private func agreeOnSync(
    _ main: MainSender, _ answers: inout ReturnPathReader
  ) throws -> (before: Int, after: Int) {
    defer { if main.sync == .unknown { main.sync = .section } }
    guard main.sync == .unknown, options.channels > 0 else { return main.sync.syncs }
    guard try answers.hearsPong(MainSender.Ping.start, within: options.syncPatience) else {
      return SyncPoints.section.syncs
    }
    guard options.sync != .section else {
      throw Failure(
        .refused, "destination",
        "it does not sync at the end of a section, as --sync section has it",
        hint: "leave out --sync; the guest is safe in its store")
    }
    main.sync = .flush
    return SyncPoints.unknown.syncs
  }

  /// A destination with fewer channels closes those it has no use for, with the pages on them
  /// unread.
  private func expectOpen(_ sockets: [Socket], _ answers: inout ReturnPathReader) throws {
    guard let id = closed(sockets) else { return }
    // One that dies closes everything.
    try answers.expectOpen(seconds: 0.2)
    throw Failure(
      .refused, "destination", "it has closed channel \(id), and not taken the pages on it",
      hint: "multifd-channels must be \(options.channels) there; the guest is safe in its store")
  }

  /// Ends everything. What has failed first is what counts.
  private func failed(_ error: any Error) -> Failure {
    control.fail { offer.failure(error, at: .main, in: $0) }
    return control.failure!
  }
}
