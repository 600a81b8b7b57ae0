import Observe
import System
import Transport
import Wire

/// Who has connected.
extension Session {
  /// Has this asked at the first sync point, too, whether a connection waits to be accepted: on a
  /// busy machine it may have been there for a while.
  ///
  /// - Parameter passes: how often all were let in who had connected at some moment: where others
  ///   connect without end, that suffices.
  public func listen(
    isKnocked: @escaping @Sendable () -> Bool, passes: @escaping @Sendable () -> Int = { 0 }
  ) {
    state.update { ($0.isKnocked, $0.passes) = (isKnocked, passes) }
  }

  /// Somebody has connected.
  public func connected(from origin: Origin) {
    state.update { $0.waiting[origin, default: 0] += 1 }
  }

  /// A connection has said what it is, or has gone.
  public func identified(from origin: Origin) {
    state.update { state in
      state.waiting[origin, default: 0] -= 1
      if state.waiting[origin] == 0 { state.waiting[origin] = nil }
    }
  }

  /// A connection was none of the source's. One from its host that has only said nothing may have
  /// been a channel all the same.
  public func turnedAway(_ stranger: Stranger, from origin: Origin) {
    guard case .silent = stranger else { return }
    state.update { if let main = $0.main, main.origin ?? origin == origin { $0.mute += 1 } }
  }

  /// A connection that is cut with the others from now on.
  public func adopt(_ socket: Socket) throws(Failure) {
    let failure = state.update { state in
      state.adopted.append(socket)
      return state.failure
    }
    guard let failure else { return }
    // The others were cut when it failed.
    socket.cut()
    throw failure
  }

  /// - Returns: false if there is a main channel already.
  public func admitMain(_ socket: Socket) -> Bool {
    state.update { state in
      guard state.main == nil else { return false }
      state.main = socket
      return true
    }
  }

  /// From here on channels with TLS may end though their peers have not said so: sources whose
  /// machine type is of QEMU 9.2 or older do not.
  public func acceptAbruptEnds() {
    state.update { state in
      state.acceptsAbruptEnds = true
      for socket in state.others { socket.acceptAbruptEnd() }
    }
  }

  /// There is a main channel.
  public var hasMain: Bool { state.read { $0.main != nil } }

  /// A channel that has not told its number yet. False when channels are closed to newcomers.
  public func admitUnnamed(_ socket: Socket) -> Bool {
    state.update { state in
      // From the first sync point on all channels are there: this is another source's, or nobody's.
      guard state.epochs.passed == 0, !state.isComplete else { return false }
      // A channel's number is a byte: there cannot be more of them.
      guard state.failure == nil, !state.isOver, state.unnamed.count + state.channels.count < 256
      else { return false }
      if state.acceptsAbruptEnds { socket.acceptAbruptEnd() }
      state.unnamed.append(socket)
      return true
    }
  }

  /// All channels have come: who says now that it is one is another source's, or nobody's.
  public func closeToChannels() { state.update { $0.isComplete = true } }

  /// A channel has told its number and its guest.
  ///
  /// - Parameter announced: the number that it has to be, where a link's hello has said so before.
  /// - Returns: what it is from now on.
  public func register(
    _ hello: MultiFDInit, _ socket: Socket, announced: Int? = nil
  ) throws(Failure) -> Member {
    let id = Int(hello.id)
    if let announced, id != announced {
      throw Failure(
        .corrupt, "channel \(announced)", "its init packet says that it is channel \(id)")
    }
    let result: Result<Channel, Failure> = state.update { state in
      let place = "channel \(id)"
      if let uuid = state.uuid, uuid != hello.uuid {
        return .failure(
          Failure(
            .corrupt, place, "its UUID is \(hello.uuid), expected \(uuid)",
            hint: "all channels must come from one source"))
      }
      if let expected = state.epochs.expected, id >= expected {
        return .failure(
          Failure(
            .refused, place, "the source opened more channels than the \(expected) expected",
            hint: "make --channels equal to the source's multifd-channels"))
      }
      if state.channels[id] != nil {
        return .failure(Failure(.corrupt, place, "two connections claim this number"))
      }
      // One that is refused stays among those that have not said what they are: whoever counts the
      // channels meanwhile waits until its failure is known, and does not do without it.
      state.unnamed.removeAll { $0 === socket }
      state.uuid = hello.uuid
      let channel = Channel(socket: socket, counters: Counters(), pass: Gate.Pass())
      state.channels[id] = channel
      state.epochs.add(id)
      return .success(channel)
    }
    return Member(self, id, try result.get())
  }

  /// Waits for the main channel, for as long as it takes.
  public func waitForMain() throws(Failure) -> Socket {
    let main = state.wait(seconds: nil) { state -> Result<Socket, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.main.map { .success($0) }
    }
    return try main!.get()
  }

  /// How many channels there are, as far as that is known.
  public var channelCount: Int { state.read { $0.epochs.count } }

  /// The ends of all connections, as they are to be seen from here.
  public var ends: Set<Socket.End> { Set(state.read { $0.known }.map(\.end)) }
}

/// A multifd channel's part in its session: for its one thread.
public struct Member {
  private let session: Session
  private let id: Int
  private let pass: Gate.Pass
  /// What the channel has moved.
  public let counters: Counters

  init(_ session: Session, _ id: Int, _ channel: Session.Channel) {
    (self.session, self.id) = (session, id)
    (pass, counters) = (channel.pass, channel.counters)
  }

  /// Pages begin: no lock, no line that others write.
  ///
  /// - Throws: when they come where a primary sends none.
  public func beginPages(at place: @autoclosure () -> String) throws(Failure) {
    guard session.gate.enter(pass) else {
      throw Failure(.corrupt, place(), "it has sent pages outside of a checkpoint")
    }
  }

  /// A SYNC is met: waits until the main channel has passed the marker that belongs to it.
  public func synced() throws(Failure) {
    // Only the main channel waits for this, and for the last of them: the others, of which each
    // would wake all that have met theirs, wait for it.
    let (syncs, _) = session.state.update(wakes: { _, areAllMet in areAllMet }) { state in
      session.gate.leave(pass)
      return (state.epochs.met(id), state.epochs.areAllMet)
    }
    let passed = session.state.wait(seconds: nil) { state -> Result<Void, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.epochs.passed >= syncs || state.isOver ? .success(()) : nil
    }
    try passed!.get()
  }

  /// The source has closed the channel between two packets.
  public func ended() { session.state.update { $0.epochs.end(id) } }
}
