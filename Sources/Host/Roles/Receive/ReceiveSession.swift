import COLO
import Migration
import Observe
import Synchronization
import System
import Transport
import Wire

/// What the threads of one reception share: who has connected, where the pages go, how far the epochs
/// are, and the first failure, which ends them all.
///
/// Epochs: a channel that has met its k-th SYNC waits here; the main channel passes its k-th marker when
/// all channels have; then all go on. So pages of different epochs never mix, in whatever order the
/// connections deliver.
final class ReceiveSession: Sendable {
  struct Channel {
    let socket: Socket
    let counters: Counters
    /// SYNC packets met.
    var syncs = 0
    /// Pages have begun that no SYNC has ended yet.
    let inside = Inside()
    /// The source closed the channel, properly, between two packets.
    var ended = false
  }

  struct State {
    var failure: Failure?
    /// Connections that have not said what they are.
    var anonymous = 0
    /// Connections that came with the main channel and were closed because they have said nothing in time.
    var mute = 0
    var main: Socket?
    /// Connections whose init packet has not been read.
    var unnamed: [Socket] = []
    var channels: [Int: Channel] = [:]
    var uuid: VMUUID?
    /// How many channels there are; fixed by the operator, or at the first marker.
    var expected: Int?
    var stage: COLOStage?
    /// Markers that the main channel has passed.
    var released = 0
    /// The main channel has read all it needs.
    var over = false
    /// The guest is held, and checkpoints of it come.
    var standby = false
    /// One of the primary's connections has ended, and what that means is being found out.
    var ending = false
    /// When the last one was committed, or the guest was held.
    var lastCheckpoint = ContinuousClock.now
  }

  let options: ReceiveOptions
  let mainCounters = Counters()
  /// Pages may come: in precopy, and from REPLY to the device state.
  let isOpen = Atomic(true)
  let state: Monitor<State>
  let events: ReceiverEvents

  init(_ options: ReceiveOptions, _ events: ReceiverEvents = ReceiverEvents()) {
    self.options = options
    self.events = events
    var state = State()
    state.expected = options.channels
    state.uuid = options.uuid
    self.state = Monitor(state)
  }

  // MARK: Failing and ending

  /// The first failure wins, and wakes every thread, wherever it waits.
  func fail(_ failure: Failure) {
    let (isFirst, channels, main) = state.update { state in
      let isFirst = state.failure == nil
      if isFirst { state.failure = failure }
      return (isFirst, state.channels.values.map(\.socket) + state.unnamed, state.main)
    }
    if isFirst { events.failing(failure) }
    // Not under the lock: a socket that a thread is reading into storage which does not answer keeps others waiting.
    for channel in channels { channel.cut() }
    main?.cutReading()  // writing stays possible: the source is to be told
  }

  var failure: Failure? { state.read { $0.failure } }

  /// An error of one of the connections. Once the guest is held, a connection that has ended is a primary
  /// that is lost. Silence is not: how long is too long for a checkpoint is ``watchCheckpoints(_:)``'s to say.
  func failure(_ error: any Error, at place: String) -> Failure {
    guard let error = error as? TransportError, state.read({ $0.standby }) else {
      return Failure(error, at: place)
    }
    switch error.kind {
    case .closed: return ended(place, error.message)
    case .reset, .lost: return .gone(place, error.message)
    default: return Failure(error, at: place)
    }
  }

  /// The main channel is done: channels may end.
  func finish() {
    state.update { state in
      state.over = true
      for channel in state.channels.values { channel.socket.cut() }
      for socket in state.unnamed { socket.cut() }
    }
  }

  var isOver: Bool { state.read { $0.over || $0.failure != nil } }

  // MARK: Connections

  /// Somebody has connected.
  func connected() { state.update { $0.anonymous += 1 } }

  /// A connection has said what it is, or has gone.
  func identified() { state.update { $0.anonymous -= 1 } }

  /// A connection was none of the source's. One that has only said nothing may have been a channel all the same.
  func turnedAway(_ stranger: Stranger) {
    guard case .silent = stranger else { return }
    state.update { if $0.main != nil { $0.mute += 1 } }
  }

  /// - Returns: false if there is a main channel already.
  func admitMain(_ socket: Socket) -> Bool {
    state.update { state in
      guard state.main == nil else { return false }
      state.main = socket
      return true
    }
  }

  /// A channel that has not told its number yet. False when channels are closed to newcomers.
  func admitUnnamed(_ socket: Socket) -> Bool {
    state.update { state in
      // From the first sync point on all channels are there: this is another source's, or nobody's.
      guard state.released == 0 else { return false }
      // A channel's number is a byte: there cannot be more of them.
      guard state.failure == nil, !state.over, state.unnamed.count + state.channels.count < 256
      else { return false }
      state.unnamed.append(socket)
      return true
    }
  }

  /// A channel has told its number and its guest.
  func register(_ hello: MultiFDInit, _ socket: Socket) throws(Failure) -> Channel {
    let id = Int(hello.id)
    let result: Result<Channel, Failure> = state.update { state in
      state.unnamed.removeAll { $0 === socket }
      let place = "channel \(id)"
      if let uuid = state.uuid, uuid != hello.uuid {
        return .failure(
          Failure(
            .corrupt, place, "its UUID is \(hello.uuid), expected \(uuid)",
            hint: "all channels must come from one source"))
      }
      if let expected = state.expected, id >= expected {
        return .failure(
          Failure(
            .refused, place, "the source opened more channels than the \(expected) expected",
            hint: "make --channels equal to the source's multifd-channels"))
      }
      if state.channels[id] != nil {
        return .failure(Failure(.corrupt, place, "two connections claim this number"))
      }
      state.uuid = hello.uuid
      let channel = Channel(socket: socket, counters: Counters())
      state.channels[id] = channel
      return .success(channel)
    }
    return try result.get()
  }

  /// Waits for the main channel, for as long as it takes.
  func waitForMain() throws(Failure) -> Socket {
    let main = state.wait(seconds: nil) { state -> Result<Socket, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.main.map { .success($0) }
    }
    return try main!.get()
  }

  /// How many channels there are, as far as that is known.
  var channelCount: Int {
    state.read { max($0.expected ?? 0, ($0.channels.keys.max() ?? -1) + 1) }
  }

  // MARK: Memory

  func publish(_ stage: COLOStage) { state.update { $0.stage = stage } }

  /// Where pages go: known once the main channel has brought the block list.
  func waitForStage() throws(Failure) -> COLOStage {
    let found = state.wait(seconds: options.timeout) { state -> Result<COLOStage, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.stage.map { .success($0) }
    }
    guard let found else {
      throw Failure(
        .unreachable, "main channel",
        "pages have come, but no block list within \(options.timeout.formatted) s")
    }
    return try found.get()
  }

  // MARK: Looking

  /// The channels by number, for progress and the summary.
  var channelCounters: [(id: Int, counters: Counters)] {
    state.read { state in
      state.channels.sorted { $0.key < $1.key }.map { ($0.key, $0.value.counters) }
    }
  }

  /// Waits for the end of the reception; of a standby's, for the end of precopy.
  ///
  /// - Returns: whether it is over.
  func waitUntilOver(seconds: Double) -> Bool {
    state.wait(seconds: seconds) { $0.over || $0.standby || $0.failure != nil ? () : nil } != nil
  }

  /// Bytes of RAM, once the block list is there.
  var ramSize: UInt64 {
    state.read { $0.stage?.guest.reduce(0) { $0 + UInt64($1.length) } ?? 0 }
  }

  /// Pages that have come, with contents or zero.
  var pages: Int {
    let all = [mainCounters] + channelCounters.map(\.counters)
    return Int(all.reduce(0) { $0 &+ $1.normal &+ $1.duplicate })
  }

  /// The guest's UUID as the channels told it.
  var uuid: VMUUID? { state.read { $0.uuid } }

  var bytesMoved: UInt64 {
    channelCounters.reduce(mainCounters.bytes) { $0 &+ $1.counters.bytes }
  }
}

extension Double {
  /// Without a fraction where there is none.
  var formatted: String { Int(exactly: self).map { "\($0)" } ?? "\(self)" }
}
