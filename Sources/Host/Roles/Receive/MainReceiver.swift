import COLO
import Foundation
import Glibc
import Memory
import Migration
import Observe
import Store
import Transport
import Wire

/// The main channel of a reception: block list, sync points, zero pages and plain pages, device
/// state, and the answers on the return path.
final class MainReceiver {
  let socket: Socket
  let session: Session
  let options: ReceiveOptions
  let store: Store
  let delegate: any ReceptionDelegate
  var input: InputBuffer
  var decoder: StreamDecoder
  /// Pages that are all in the buffer pass the stage together.
  var pageRun = PageRun()
  /// Any other by itself: its offset in the block.
  let one = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1)
  /// Offsets of these or of that one in the target.
  let slots = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: PageRun.capacity)
  let none = UnsafeBufferPointer<UInt64>(start: nil, count: 0)
  var ramIsComplete = false
  var position = (block: 0, offset: UInt64(0))

  /// What was collected: see ``Store``.
  var earlyState = Data()
  var deviceState = Data()
  var vmDescription = Data()
  /// Passes over the guest's RAM that have begun.
  var passes = 0
  /// Whether the source waits to be told that it may switch over.
  var switchover = SwitchoverWatch()
  /// When the source stopped its guest, as far as the stream tells.
  var stopped: ContinuousClock.Instant?
  /// What the guest begins with; nil: with nothing.
  var heritage: Heritage?
  /// Where the guest is if something fails now.
  var whereabouts = Whereabouts.source

  /// Where a guest is whose reception fails.
  enum Whereabouts {
    /// Where it was: nothing was said by which its source could let go of it.
    case source
    /// All of it has come from a source that waits for no verdict: that has let go of it, unless
    /// somebody there sees to it.
    case arrived
    /// Here, whole; and at its source too, if that has not heard SHUT 0.
    case told
  }

  init(
    _ socket: Socket, _ session: Session, _ options: ReceiveOptions, _ store: Store,
    _ delegate: any ReceptionDelegate
  ) {
    self.socket = socket
    self.session = session
    self.options = options
    self.store = store
    self.delegate = delegate
    input = InputBuffer(socket, acknowledgesAtOnce: true)
    decoder = StreamDecoder(limits: options.limits)
  }

  deinit {
    one.deallocate()
    slots.deallocate()
  }

  /// The source listens on the return path, so it waits for a verdict.
  var sourceListens: Bool { decoder.returnPathRequested }
  /// Where the pages go; nil before the block list has come.
  var stage: COLOStage?
  /// Gets memory ahead of the pages, until all are there.
  var preallocator: Preallocator?

  /// The manifest of what has been received.
  func manifest(uuid: VMUUID?) -> Manifest {
    var manifest = Manifest(
      state: .receiving, machine: decoder.configuration?.machine ?? "",
      pageSize: options.limits.pageSize, ramSection: decoder.ramSectionID ?? 0,
      blocks: decoder.blocks.map { Manifest.Block(name: $0.name, length: $0.usedLength) })
    manifest.pageBits = decoder.configuration?.pageBits
    delegate.describe(&manifest)
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
    // Every guest has firmware: without it, channels must have been missed.
    guard session.channelCount > 0 || session.mainCounters.normal > 0 || heritage != nil else {
      throw Failure(
        .corrupt, "main channel", "no page with contents has come, and no multifd channel",
        hint: "if the source uses multifd, tell --channels")
    }
  }

  /// Reads elements until one is the last, or the stream ends where it may.
  func decode(while goOn: (StreamDecoder.Element) -> Bool) throws {
    do {
      while true {
        if try takeRun() { continue }
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
      if let kind = (error as? TransportError)?.kind, kind == .closed || kind == .reset,
        !session.isHeld
      {
        _ = session.waitUntilOver(seconds: 0.2)
      }
      if let failure = session.failure { throw failure }
      throw session.failure(error, at: "main channel, byte \(decoder.position)")
    }
  }

  /// - Returns: false if the stream has ended where it may.
  private func arrive(_ missing: Int) throws -> Bool {
    if let arrived = try delegate.arrive(missing, at: self) { return arrived }
    do {
      // Between elements a source may pause (pre-switchover, a bandwidth limit); inside one, or
      // after the guest was stopped, it may not.
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
    case .eof: if !session.isHeld { deviceState.append(0) }
    default: break
    }
    input.consume(consumed)
    switch element {
    case .configuration(let configuration): try check(configuration)
    case .command(let command): try answer(command)
    case .ramBlocks(let blocks): try makeMemory(blocks)
    case .ramBegin(let header):
      if header.kind == .start { try delegate.ramBegins(self) }
      if header.kind == .part { try watchForSwitchover() }
      if header.kind == .end, stopped == nil { stopped = .now }
    case .multifdFlush:
      try session.mainReachedMarker(needsChannels: true)
      passes += 1
    case .endOfRAMSection:
      if decoder.syncMode == .perSection { try session.mainReachedMarker(needsChannels: false) }
      ramIsComplete = stopped != nil
      if ramIsComplete {
        preallocator?.finish()
        // Now, and not when it is held: a 'send' that does not wait for a disk for so long has not
        // given away its devices yet, and knows where its guest is.
        if delegate.isDurable { try store.force(stage?.guest ?? []) }
      }
    case .colo(let message): try delegate.coloMessage(message)
    case .deviceState(let size):
      try delegate.deviceState(size: Int(size)) { buffer in
        try input.take(into: buffer)
        decoder.didTake(buffer.count)
        session.mainCounters.moved(bytes: buffer.count)
      }
    default: break
    }
  }
}
