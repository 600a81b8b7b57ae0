import System
import Transport

/// Sync points: how many channels there are, and when the main channel may go on.
extension Session {
  /// What waiting at a marker has come to.
  private enum Passage {
    case passed
    case failure(Failure)
    /// The source has closed this channel.
    case ended(Int)
  }

  /// The main channel has met a marker: waits until every channel has met its SYNC.
  ///
  /// - Parameter needsChannels: the marker says by itself that there are channels.
  public func mainReachedMarker(needsChannels: Bool) throws(Failure) {
    if state.read({ $0.epochs.expected }) == nil { try fixChannelCount(needsChannels) }
    if needsChannels, state.read({ $0.epochs.expected }) == 0 {
      throw Failure(
        .refused, "multifd", "the source uses it, and --channels is 0",
        hint: "make --channels equal to the source's multifd-channels, or leave it out")
    }
    let marker = state.read { $0.epochs.passed + 1 }
    if marker == 1, fixedChannels != nil {
      // A source has opened all its channels by now. One too many is to be told, not cut off later:
      // let whoever has connected say what it is.
      _ = state.wait(seconds: min(1, timeout)) { state in
        state.failure != nil || state.isSettled ? () : nil
      }
    }
    var moved = bytesMoved
    while true {
      // A little longer than a channel waits for the rest of a packet: it knows better where it
      // stopped.
      let patience = timeout * 1.25
      let passed = state.take(seconds: patience) { state -> Passage? in
        if let failure = state.failure { return .failure(failure) }
        switch state.epochs.pass() {
        case .ended(let id): return .ended(id)
        case .wait: return nil
        case nil: return .passed
        }
      }
      switch passed {
      case .passed: return
      case .failure(let failure): throw failure
      case .ended(let id):
        let why = "the source closed it before sync point \(marker)"
        throw failure(TransportError(.closed, why), at: "channel \(id)")
      case nil: break
      }
      if state.read({ $0.isPatient }) { continue }
      // A slow link may need longer than the time-out for what is under way; silence is what
      // counts.
      guard bytesMoved != moved else { throw missing(marker) }
      moved = bytesMoved
    }
  }

  /// The main channel of a migration that is only passed on has met its first marker: waits until
  /// who has connected has said what it is. One that says nothing is closed in the end, and its
  /// source notices.
  ///
  /// - Returns: how many channels there are.
  public func countChannels() throws(Failure) -> Int {
    if fixedChannels == nil { settle { _ in } }
    if let failure { throw failure }
    return state.update { state in
      let count = state.epochs.expected ?? state.epochs.countWithGaps
      state.epochs.expected = count
      return count
    }
  }

  /// A checkpoint is asked for and answered: its pages may come.
  public func openEpoch() { gate.open() }

  /// A checkpoint is complete, as the main channel has it: no channel may have gone beyond its last
  /// sync point, for a primary sends nothing more until it is answered.
  public func closeEpoch() throws(Failure) {
    gate.close()
    let ahead = state.read { state -> (id: Int, why: String)? in
      if let id = state.epochs.ahead {
        return (id, "it has sent more SYNCs than the main channel has sync points")
      }
      let inside = state.channels.filter { gate.isInside($1.pass) }.keys.min()
      return inside.map { ($0, "it has sent pages after the last SYNC") }
    }
    if let ahead { throw Failure(.corrupt, "channel \(ahead.id)", ahead.why) }
  }

  /// How many channels there are when the operator has not said: those that connected before the
  /// source reached its first sync point, which it does only after it has opened all of them.
  private func fixChannelCount(_ needsChannels: Bool) throws(Failure) {
    if needsChannels {
      _ = state.wait(seconds: timeout) { state in
        state.failure != nil || !state.channels.isEmpty ? () : nil
      }
    }
    settle { state in
      if state.mute == 0 { state.epochs.expected = state.epochs.countWithGaps }
    }
    if let failure { throw failure }
    let silent = state.update { state in
      // Who is silent that long is no channel, if there are no others.
      if state.unnamed.isEmpty && state.channels.isEmpty { state.epochs.expected = 0 }
      return state.epochs.expected == nil ? state.unnamed.count + state.anonymous + state.mute : 0
    }
    guard silent == 0 else {
      throw Failure(
        .unreachable, "multifd",
        "\(silent) of the connections have said nothing within \(timeout.formatted) s",
        hint: "if they are none of the source's, tell --channels")
    }
    guard !needsChannels || state.read({ $0.epochs.expected }) != 0 else {
      throw Failure(
        .unreachable, "multifd",
        "the source uses it, but no channel has connected within \(timeout.formatted) s")
    }
  }

  /// Waits until nobody comes any more, and everybody has said what it is, or the time-out is over.
  ///
  /// - Parameter body: what is done at that very moment; not after the time-out.
  private func settle(_ body: (inout State) -> Void) {
    let settlingTime = settlingTime
    var count = -1
    let (isKnocked, passes) = state.read { ($0.isKnocked, $0.passes) }
    let deadline = ContinuousClock.now + .seconds(timeout)
    /// The pass that begins after this has been asked has ended.
    var wholePass: Int?
    while true {
      let now = state.read { $0.unnamed.count + $0.channels.count }
      if now == count {
        // Nor is a channel less a channel because we have not found the time to let it in.
        if !isKnocked() || .now > deadline || wholePass.map({ passes() >= $0 }) == true { break }
        wholePass = wholePass ?? passes() + 2
      } else {
        wholePass = nil
      }
      count = now
      _ = state.wait(seconds: settlingTime) { $0.failure != nil ? () : nil }
    }
    // A connection that has not said what it is yet may be a channel: without it, pages would be
    // missing and nobody would notice.
    _ = state.take(seconds: timeout) { state -> Void? in
      guard state.failure != nil || state.isSettled else { return nil }
      return body(&state)
    }
  }

  /// How long nobody must have come before all are taken to be here. The source has connected all of
  /// its channels by now, but on a network the last packet of a connection's handshake can be
  /// overtaken by the main channel's bytes: by what a few round trips cover.
  private var settlingTime: Double {
    let roundTrip = state.read { $0.main }?.roundTrip ?? 0
    return max(0.005, min(4 * roundTrip, 0.5))
  }

  /// Of the channels that are expected one has not come: what that is, once it has been waited for.
  public var absence: Failure? {
    let (expected, absent) = state.read { ($0.epochs.expected ?? 0, $0.epochs.absent) }
    return absent.first.map { first in
      Failure(
        .unreachable, "channel \(first)",
        "it has not connected within \(timeout.formatted) s "
          + "(\(expected - absent.count) of \(expected) have)",
        hint: "make --channels equal to the source's multifd-channels, or leave it out")
    }
  }

  private func missing(_ marker: Int) -> Failure {
    absence
      ?? Failure(
        .unreachable, "channel \(state.read { $0.epochs.late.first } ?? 0)",
        "silent for \(timeout.formatted) s before sync point \(marker)")
  }
}
