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
  private var input: InputBuffer
  private var decoder: StreamDecoder
  private var stage: COLOStage?
  /// One page at a time passes the stage here; these hold its offset.
  private let one = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1)
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
    input = InputBuffer(socket, acknowledgesAtOnce: true)
    decoder = StreamDecoder(limits: session.options.limits)
  }

  deinit { one.deallocate() }

  /// The source listens on the return path, so it waits for a verdict.
  var sourceListens: Bool { decoder.returnPathRequested }
  /// What the store is to say about the guest.
  var blocks: [RAMBlock] { stage?.guest ?? [] }

  /// The manifest of what has been received.
  func manifest(uuid: VMUUID?) -> Manifest {
    var manifest = Manifest(
      state: .receiving, machine: decoder.configuration?.machine ?? "",
      pageSize: session.options.limits.pageSize, ramSection: decoder.ramSectionID ?? 0,
      blocks: decoder.blocks.map { Manifest.Block(name: $0.name, length: $0.usedLength) })
    manifest.pageBits = decoder.configuration?.pageBits
    manifest.validateUUID = decoder.configuration?.uuid != nil
    manifest.uuid = (uuid ?? decoder.configuration?.uuid)?.description
    if session.channelCount > 0 {
      manifest.sync = decoder.syncMode == .flush ? "flush" : "section"
    }
    return manifest
  }

  /// Reads to the end of the stream: VM description, or the source's close.
  func run() throws {
    do {
      while true {
        switch try decoder.next(input.bytes) {
        case .needMore(let missing):
          guard try arrive(missing) else { return }
        case .element(let element, let consumed):
          try handle(element, consumed)
          if case .vmDescription = element { return }
        }
      }
    } catch {
      if let failure = session.failure { throw failure }
      throw Failure(error, at: "main channel, byte \(decoder.position)")
    }
  }

  /// - Returns: false if the stream has ended where it may.
  private func arrive(_ missing: Int) throws -> Bool {
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
    case .eof: deviceState.append(0)
    default: break
    }
    input.consume(consumed)
    switch element {
    case .configuration(let configuration): try check(configuration)
    case .command(let command): try answer(command)
    case .ramBlocks(let blocks): try makeMemory(blocks)
    case .ramBegin(let header):
      if header.kind == .end, stopped == nil { stopped = .now }
    case .multifdFlush:
      try session.mainReachedMarker(needsChannels: true)
      passes += 1
    case .endOfRAMSection:
      if decoder.syncMode == .perSection { try session.mainReachedMarker(needsChannels: false) }
      ramIsComplete = stopped != nil
    case .colo, .deviceState:
      throw Failure(.refused, "main channel", "the source runs COLO, this is a plain reception")
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
    let host = try stage.prepare(block: block, normal: pages, zero: none)
    // The decoder has checked that the page lies inside its block.
    try input.take(
      into: UnsafeMutableRawBufferPointer(start: host + Int(offset), count: size))
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
      _ = try stage.prepare(block: block, normal: none, zero: pages)
      try stage.process(block: block, normal: none, zero: pages)
      return
    }
    // Old sources may name another byte than zero.
    let host = try stage.prepare(block: block, normal: pages, zero: none)
    memset(host + Int(offset), Int32(fill), session.options.limits.pageSize)
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
      throw Failure(
        .refused, "main channel", "the source is a COLO primary, this is a plain reception",
        hint: "turn off x-colo at the source")
    case .switchoverStart: stopped = .now
    case .openReturnPath:
      // A source with the capability switchover-ack waits for one, and does not say that it does.
      let version = MachineVersion(machine: decoder.configuration?.machine ?? "")
      let expected = version.map(MachineVersion.withUnaskedSwitchoverAck.contains) ?? false
      guard session.options.switchoverAck || expected else { break }
      try socket.write(ReturnPathMessage.switchoverAck.encode())
    }
  }

  private func makeMemory(_ list: [RAMBlockDescription]) throws {
    let size = session.options.limits.pageSize
    var blocks: [RAMBlock] = []
    for block in list {
      guard block.usedLength > 0, block.usedLength % UInt64(size) == 0,
        let length = Int(exactly: block.usedLength)
      else {
        throw WireError(
          .badLength, at: decoder.position,
          "RAM block '\(block.name)' has \(block.usedLength) bytes, no multiple of a page")
      }
      _ = length
      blocks.append(
        try store.makeBlock(
          Manifest.Block(name: block.name, length: block.usedLength), pageSize: size))
    }
    let stage = COLOStage(guest: blocks)
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
