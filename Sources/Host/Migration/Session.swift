// Migration: packets in, packets out, and what holds one migration together.

import COLO
import Memory
import Observe
import System
import Transport
import Wire

/// What the threads of one migration share: who has connected, where the pages go, how far the
/// epochs are, and the first failure, which ends them all.
///
/// It is asked when something begins or ends, and at sync points: never for a packet.
public final class Session: Sendable {
  /// A multifd channel that has told its number.
  struct Channel {
    let socket: Socket
    let counters: Counters
    let pass: Gate.Pass
  }

  struct State {
    var failure: Failure?
    /// Connections that have not said what they are, by the hosts that they come from.
    var waiting: [Origin: Int] = [:]
    /// Those of them that may be channels: who comes from another host than the main channel is
    /// none of its.
    var anonymous: Int {
      if let origin = main?.origin { waiting[origin] ?? 0 } else { waiting.values.reduce(0, +) }
    }
    /// Whether somebody has connected whom nobody has let in yet.
    var isKnocked: @Sendable () -> Bool = { false }
    /// How often all were let in who had connected at some moment.
    var passes: @Sendable () -> Int = { 0 }
    /// Connections that came with the main channel and were closed because they have said nothing
    /// in time.
    var mute = 0
    var main: Socket?
    /// Channels that have told no number yet.
    var unnamed: [Socket] = []
    /// No channel is let in any more.
    var isComplete = false
    /// Connections that are cut with the others, and are no channels of the source's.
    var adopted: [Socket] = []
    var channels: [Int: Channel] = [:]
    var uuid: VMUUID?
    var epochs = Epochs()
    var stage: COLOStage?
    /// The main channel has read all it needs.
    var isOver = false
    /// The guest is held, and what comes now is more than a migration: see
    /// ``hold(patient:judge:)``.
    var isHeld = false
    /// Channels may end though TLS has not said so.
    var acceptsAbruptEnds = false
    /// Somebody else watches the clock.
    var isPatient = false
    var judge: Judge?

    /// Everybody has said what it is.
    var isSettled: Bool { unnamed.isEmpty && anonymous == 0 }
    /// Every connection but the main channel's.
    var others: [Socket] { channels.values.map(\.socket) + unnamed + adopted }
    /// The main channel's, and those of the channels that have told their numbers.
    var known: [Socket] { [main].compactMap(\.self) + channels.values.map(\.socket) }
  }

  /// Says what it means that one of the peer's connections has failed.
  public typealias Judge = @Sendable (_ error: TransportError, _ place: String) -> Failure?

  /// Seconds of silence, in the middle of something, after which the peer counts as lost.
  public let timeout: Double
  /// What the operator has said of the number of channels.
  let fixedChannels: Int?
  /// What the main channel has moved.
  public let mainCounters = Counters()
  let gate = Gate()
  let state: Monitor<State>
  private let onFailure: @Sendable (Failure) -> Void

  /// A session that nobody has joined.
  ///
  /// - Parameters:
  ///   - channels: how many multifd channels there will be; nil: as many as there are at the first
  ///     sync point.
  ///   - uuid: what every channel must carry; nil: all the same.
  ///   - onFailure: told of the first failure, from whatever thread notices it; must return at
  ///     once.
  public init(
    timeout: Double, channels: Int? = nil, uuid: VMUUID? = nil,
    onFailure: @escaping @Sendable (Failure) -> Void = { _ in }
  ) {
    self.timeout = timeout
    self.onFailure = onFailure
    fixedChannels = channels
    var state = State()
    state.epochs.expected = channels
    state.uuid = uuid
    self.state = Monitor(state)
  }

  // MARK: Failing and ending

  /// The first failure wins, and wakes every thread, wherever it waits.
  public func fail(_ failure: Failure) {
    let (isFirst, others, main) = state.update { state in
      let isFirst = state.failure == nil
      if isFirst { state.failure = failure }
      return (isFirst, state.others, state.main)
    }
    // What lies in a socket's buffer when it is cut can still be read: nothing of it goes to memory
    // any more.
    gate.close()
    if isFirst { onFailure(failure) }
    // Not under the lock: a socket that a thread is reading into storage which does not answer
    // keeps others waiting.
    for socket in others { socket.cut() }
    main?.cutReading()  // writing stays possible: the source is to be told
  }

  /// The first failure.
  public var failure: Failure? { state.read { $0.failure } }

  /// What an error of one of the connections means, at a place.
  public func failure(_ error: any Error, at place: String) -> Failure {
    guard let error = error as? TransportError, let judge = state.read({ $0.judge }) else {
      return Failure(error, at: place)
    }
    return judge(error, place) ?? Failure(error, at: place)
  }

  /// The main channel is done: channels may end.
  public func finish() {
    let sockets = state.update { state in
      state.isOver = true
      return state.others
    }
    for socket in sockets { socket.cut() }
  }

  /// Nothing more will come of it, for better or worse.
  public var isOver: Bool { state.read { $0.isOver || $0.failure != nil } }

  /// The guest is held, and what follows is not a migration's any more.
  ///
  /// - Parameters:
  ///   - patient: somebody else watches the clock: connections may be silent for as long as they
  ///     like.
  ///   - judge: says from here on what it means that a connection has failed.
  public func hold(patient: Bool, judge: @escaping Judge) {
    let sockets = state.update { state in
      (state.isHeld, state.isPatient, state.judge) = (true, patient, judge)
      return patient ? state.known : []
    }
    for socket in sockets { socket.waitForEver() }
  }

  /// See ``hold(patient:judge:)``.
  public var isHeld: Bool { state.read { $0.isHeld } }

  /// Waits for the end of the migration, or until its guest is held.
  ///
  /// - Returns: whether that is so.
  public func waitUntilOver(seconds: Double) -> Bool {
    state.wait(seconds: seconds) { $0.isOver || $0.isHeld || $0.failure != nil ? () : nil } != nil
  }

  /// Waits for the end, whatever is held.
  ///
  /// - Returns: whether it has come.
  public func waitForEnd(seconds: Double) -> Bool {
    state.wait(seconds: seconds) { $0.isOver || $0.failure != nil ? () : nil } != nil
  }

  // MARK: Memory

  /// The main channel has brought the block list: pages may go there.
  public func publish(_ stage: COLOStage) { state.update { $0.stage = stage } }

  /// Where pages go: known once the main channel has brought the block list.
  public func waitForStage() throws(Failure) -> COLOStage {
    let found = state.wait(seconds: timeout) { state -> Result<COLOStage, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.stage.map { .success($0) }
    }
    guard let found else {
      throw Failure(
        .unreachable, "main channel",
        "pages have come, but no block list within \(timeout.formatted) s")
    }
    return try found.get()
  }

  // MARK: Looking

  /// The channels by number, for progress and the summary.
  public var channelCounters: [(id: Int, counters: Counters)] {
    state.read { state in
      state.channels.sorted { $0.key < $1.key }.map { ($0.key, $0.value.counters) }
    }
  }

  /// The guest's RAM, once the block list is there.
  public var blocks: [RAMBlock] { state.read { $0.stage?.guest ?? [] } }

  /// Bytes of RAM, once the block list is there.
  public var ramSize: UInt64 {
    state.read { $0.stage?.guest.reduce(0) { $0 + UInt64($1.length) } ?? 0 }
  }

  /// Pages that have come, with contents or zero.
  public var pages: Int {
    let all = [mainCounters] + channelCounters.map(\.counters)
    return Int(all.reduce(0) { $0 &+ $1.normal &+ $1.duplicate })
  }

  /// The guest's UUID as the channels told it.
  public var uuid: VMUUID? { state.read { $0.uuid } }

  var bytesMoved: UInt64 {
    channelCounters.reduce(mainCounters.bytes) { $0 &+ $1.counters.bytes }
  }
}

extension Double {
  /// Without a fraction where there is none.
  package var formatted: String { Int(exactly: self).map { "\($0)" } ?? "\(self)" }
}
