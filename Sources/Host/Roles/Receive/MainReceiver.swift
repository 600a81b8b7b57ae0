import COLO
import Foundation
import Glibc
import Memory
import Store
import Transport
import Wire

/// The main channel of a reception: block list, sync points, zero pages and plain pages, device state,
/// and the answers on the return path.
final class MainReceiver {
  private let socket: Socket
  private let session: ReceiveSession
  private let store: Store
  private let isStandby: Bool
  /// Takes over at the end of precopy.
  var standby: Standby?
  private var input: InputBuffer
  private var decoder: StreamDecoder
  /// One page at a time passes the stage here; these hold its offset in the block and in the target.
  private let one = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1)
  private let slot = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1)
  private let none = UnsafeBufferPointer<UInt64>(start: nil, count: 0)
  private var ramIsComplete = false
  private var position = (block: 0, offset: UInt64(0))

  /// What was collected: see ``Store``.
  private(set) var earlyState = Data()
  private(set) var deviceState = Data()
  private(set) var vmDescription = Data()
  /// Passes over the guest's RAM that have begun.
  private(set) var passes = 0
  /// When the source stopped its guest, as far as the stream tells.
  private(set) var stopped: ContinuousClock.Instant?

  init(_ socket: Socket, _ session: ReceiveSession, _ store: Store) {
    self.socket = socket
    self.session = session
    self.store = store
    isStandby = session.options.standby != nil
    input = InputBuffer(socket, acknowledgesAtOnce: true)
    decoder = StreamDecoder(limits: session.options.limits)
  }

  deinit {
    one.deallocate()
    slot.deallocate()
  }

  /// The source listens on the return path, so it waits for a verdict.
  var sourceListens: Bool { decoder.returnPathRequested }
  /// Where the pages go; nil before the block list has come.
  private(set) var stage: COLOStage?

  /// The manifest of what has been received.
  func manifest(uuid: VMUUID?) -> Manifest {
    var manifest = Manifest(
      state: .receiving, machine: decoder.configuration?.machine ?? "",
      pageSize: session.options.limits.pageSize, ramSection: decoder.ramSectionID ?? 0,
      blocks: decoder.blocks.map { Manifest.Block(name: $0.name, length: $0.usedLength) })
    manifest.pageBits = decoder.configuration?.pageBits
    manifest.cache = session.options.standby?.cache
    manifest.validateUUID = decoder.configuration?.uuid != nil
    manifest.uuid = (uuid ?? decoder.configuration?.uuid)?.description
    if session.channelCount > 0 {
      manifest.sync = decoder.syncMode == .flush ? "flush" : "section"
    }
    return manifest
  }

  /// Reads to the end of the stream: VM description, or the source's close.
  func run() throws {
    try decode { if case .vmDescription = $0 { false } else { true } }
  }

  /// Reads checkpoints, for as long as the primary sends them.
  ///
  /// - Throws: always: the way in which the primary was lost.
  func runCheckpoints() throws {
    try decode { _ in true }
    throw Failure.gone("primary", "it closed the connection")
  }

  private func decode(while goOn: (StreamDecoder.Element) -> Bool) throws {
    do {
      while true {
        switch try decoder.next(input.bytes) {
        case .needMore(let missing):
          guard try arrive(missing) else { return }
        case .element(let element, let consumed):
          try handle(element, consumed)
          guard goOn(element) else { return }
        }
      }
    } catch {
      // A source that has lost a channel closes all of them: what happened to that one is the news.
      if (error as? TransportError)?.kind == .closed, standby == nil {
        _ = session.waitUntilOver(seconds: 0.2)
      }
      if let failure = session.failure { throw failure }
      throw session.failure(error, at: "main channel, byte \(decoder.position)")
    }
  }

  /// - Returns: false if the stream has ended where it may.
  private func arrive(_ missing: Int) throws -> Bool {
    if standby != nil { return try arriveAsStandby(missing) }
    do {
      // Between elements a source may pause (pre-switchover, a bandwidth limit); inside one, or after
      // the guest was stopped, it may not.
      let idle = input.bytes.isEmpty && !ramIsComplete
      if try input.require(input.bytes.count + missing, idle: idle) { return true }
    } catch {
      // suppress-vmdesc: the source waits for the verdict, we for a description that does not come.
      guard error.kind == .timedOut, ramIsComplete, sourceListens,
        (try? decoder.finish(remaining: input.bytes)) == .complete
      else { throw error }
      deviceState.append(contentsOf: input.bytes)
      return false
    }
    if let failure = session.failure { throw failure }
    let rest = Data(input.bytes)
    do {
      guard try decoder.finish(remaining: input.bytes) == .complete else {
        throw TransportError(.closed, "the source closed it inside a checkpoint")
      }
    } catch let error as WireError where error.code == .truncated {
      throw TransportError(.closed, "the source closed the connection: \(error.message)")
    }
    deviceState.append(contentsOf: rest)
    return false
  }

  private func arriveAsStandby(_ missing: Int) throws -> Bool {
    let between = input.bytes.isEmpty && (decoder.phase == .idle || decoder.phase == .afterEOF)
    if between, let limit = session.options.standby?.checkpointTimeout,
      !socket.waitReadable(seconds: limit)
    {
      throw Failure.gone("primary", "no checkpoint for \(limit.formatted) s")
    }
    if try input.require(input.bytes.count + missing, idle: between) { return true }
    if let failure = session.failure { throw failure }
    guard between else {
      throw Failure.gone("primary", "it closed the connection inside a checkpoint")
    }
    return false
  }

  private func handle(_ element: StreamDecoder.Element, _ consumed: Int) throws {
    session.mainCounters.moved(bytes: consumed)
    switch element {
    case .zero(let block, let offset, let fill):
      input.consume(consumed)
      try zeroPage(block, offset, fill)
      return
    case .page(let block, let offset):
      input.consume(consumed)
      try page(block, offset)
      return
    case .section(let header): try section(header, consumed)
    case .vmDescription: vmDescription = Data(input.bytes[..<consumed])
    case .eof: if standby == nil { deviceState.append(0) }
    default: break
    }
    input.consume(consumed)
    switch element {
    case .configuration(let configuration): try check(configuration)
    case .command(let command): try answer(command)
    case .ramBlocks(let blocks): try makeMemory(blocks)
    case .ramBegin(let header):
      if header.kind == .start { try checkDialect() }
      if header.kind == .end, stopped == nil { stopped = .now }
    case .multifdFlush:
      try session.mainReachedMarker(needsChannels: true)
      passes += 1
    case .endOfRAMSection:
      if decoder.syncMode == .perSection { try session.mainReachedMarker(needsChannels: false) }
      ramIsComplete = stopped != nil
    case .colo(let message):
      guard let standby else {
        throw Failure(.refused, "main channel", "the source runs COLO, this is a plain reception")
      }
      try standby.handle(message)
    case .deviceState(let size):
      try standby?.deviceState(size: Int(size)) { buffer in
        try input.take(into: buffer)
        decoder.didTake(buffer.count)
        session.mainCounters.moved(bytes: buffer.count)
      }
    default: break
    }
  }

  // MARK: Pages

  private func page(_ block: Int, _ offset: UInt64) throws {
    let stage = stage!  // records come after the block list: the decoder sees to that
    let size = session.options.limits.pageSize
    notePass(block, offset)
    one[0] = offset
    let pages = UnsafeBufferPointer(one)
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slot)
    // The decoder has checked that the page lies inside its block.
    try input.take(
      into: UnsafeMutableRawBufferPointer(start: target.host + Int(target.normal[0]), count: size))
    decoder.didTake(size)
    try stage.process(block: block, normal: pages, zero: none)
    session.mainCounters.page(bytes: size)
  }

  private func zeroPage(_ block: Int, _ offset: UInt64, _ fill: UInt8) throws {
    let stage = stage!
    notePass(block, offset)
    one[0] = offset
    let pages = UnsafeBufferPointer(one)
    session.mainCounters.zeroPages(1)
    guard fill != 0 else {
      _ = try stage.prepare(block: block, normal: none, zero: pages, slots: slot)
      try stage.process(block: block, normal: none, zero: pages)
      return
    }
    // Old sources may name another byte than zero.
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slot)
    memset(
      target.host + Int(target.normal[0]), Int32(fill), session.options.limits.pageSize)
    try stage.process(block: block, normal: pages, zero: none)
  }

  /// A source goes through its blocks in order; going back is a new pass.
  private func notePass(_ block: Int, _ offset: UInt64) {
    if (block, offset) < position || passes == 0 { passes += 1 }
    position = (block, offset)
  }

  // MARK: Everything else

  private func check(_ configuration: Configuration) throws {
    for capability in configuration.capabilities {
      throw Failure(
        .refused, "main channel", "the source uses the capability \(capability)",
        hint: "turn it off: a guest is held with all of its RAM")
    }
    if let expected = session.options.uuid, let uuid = configuration.uuid, uuid != expected {
      throw Failure(.corrupt, "main channel", "the guest's UUID is \(uuid), expected \(expected)")
    }
  }

  private func answer(_ command: Command) throws {
    switch command {
    case .ping(let value):
      guard sourceListens else { break }
      try socket.write(ReturnPathMessage.pong(value).encode())
    case .enableCOLO:
      guard !isStandby else { break }
      throw Failure(
        .refused, "main channel", "the source is a COLO primary, this is a plain reception",
        hint: "be its secondary with --colo, or turn off x-colo at the source")
    case .switchoverStart: stopped = .now
    case .openReturnPath:
      // A source with the capability switchover-ack waits for one, and does not say that it does.
      let version = MachineVersion(machine: decoder.configuration?.machine ?? "")
      let expected = version.map(MachineVersion.withUnaskedSwitchoverAck.contains) ?? false
      guard session.options.switchoverAck || expected else { break }
      try socket.write(ReturnPathMessage.switchoverAck.encode())
    }
  }

  /// Told before the primary stops its guest: what the stream shows of whether it is a COLO primary.
  private func checkDialect() throws {
    guard isStandby else { return }
    if decoder.coloEnabled && decoder.returnPathRequested {
      throw Failure(
        .refused, "main channel", "a COLO primary up to 10.2 cannot use return-path",
        hint: "turn off return-path at the primary: it would cut its own COLO connection")
    }
    guard decoder.coloEnabled || decoder.returnPathRequested else {
      throw Failure(
        .refused, "main channel", "the source is no COLO primary",
        hint: "turn on x-colo at the source (with QEMU 11 also return-path), or leave out --colo")
    }
  }

  private func makeMemory(_ list: [RAMBlockDescription]) throws {
    let size = session.options.limits.pageSize
    var blocks: [RAMBlock] = []
    for block in list {
      guard block.usedLength > 0, block.usedLength % UInt64(size) == 0,
        block.usedLength <= UInt64(Int.max)
      else {
        throw WireError(
          .badLength, at: decoder.position,
          "RAM block '\(block.name)' has \(block.usedLength) bytes, no multiple of a page")
      }
      blocks.append(
        try store.makeBlock(
          Manifest.Block(name: block.name, length: block.usedLength), pageSize: size))
    }
    let cache = try CacheFiles(store, blocks, pageSize: size)
    let stage = COLOStage(
      guest: blocks, cache: try cache.make(session.options.standby?.cache))
    self.stage = stage
    session.publish(stage)
  }

  private func section(_ header: SectionHeader, _ size: Int) throws {
    guard header.kind == .full else {
      throw Failure(
        .refused, "main channel", "cannot hold what '\(header.name)' sends in several parts",
        hint: "only RAM may be iterated; detach the device or turn off the capability")
    }
    if ramIsComplete {
      deviceState.append(contentsOf: input.bytes[..<size])
    } else {
      earlyState.append(contentsOf: input.bytes[..<size])
    }
  }
}
