import Migration
import Synchronization

/// Sync points: which epoch the channels and the main channel are in, and how many channels there are.
extension ReceiveSession {
  /// What waiting at a marker has come to.
  private enum Passage {
    case passed
    case failure(Failure)
    /// The source has closed this channel.
    case ended(Int)
  }

  /// A channel has met a SYNC: waits until the main channel has passed the marker that belongs to it.
  func channelSynced(_ id: Int) throws(Failure) {
    let syncs = state.update { state in
      state.channels[id]!.inside.flag.store(false, ordering: .sequentiallyConsistent)
      state.channels[id]!.syncs += 1
      return state.channels[id]!.syncs
    }
    let passed = state.wait(seconds: nil) { state -> Result<Void, Failure>? in
      if let failure = state.failure { return .failure(failure) }
      return state.released >= syncs || state.over ? .success(()) : nil
    }
    try passed!.get()
  }

  /// A channel has been closed by the source between two packets.
  func channelEnded(_ id: Int) { state.update { $0.channels[id]!.ended = true } }

  /// The main channel has met a marker: waits until every channel has met its SYNC.
  ///
  /// - Parameter needsChannels: the marker says by itself that there are channels.
  func mainReachedMarker(needsChannels: Bool) throws(Failure) {
    if state.read({ $0.expected }) == nil { try fixChannelCount(needsChannels) }
    if needsChannels, state.read({ $0.expected }) == 0 {
      throw Failure(
        .refused, "multifd", "the source uses it, and --channels is 0",
        hint: "make --channels equal to the source's multifd-channels, or leave it out")
    }
    let marker = state.read { $0.released + 1 }
    if marker == 1, options.channels != nil {
      // A source has opened all its channels by now. One too many is to be told, not cut off later: let
      // whoever has connected say what it is.
      _ = state.wait(seconds: min(1, options.timeout)) { state in
        state.failure != nil || (state.unnamed.isEmpty && state.anonymous == 0) ? () : nil
      }
    }
    var moved = bytesMoved
    while true {
      // A little longer than a channel waits for the rest of a packet: it knows better where it stopped.
      let patience = options.timeout * 1.25
      let passed = state.take(seconds: patience) { state -> Passage? in
        if let failure = state.failure { return .failure(failure) }
        let expected = state.expected ?? 0
        if let ended = state.channels.first(where: { $1.ended && $1.syncs < marker }) {
          return .ended(ended.key)
        }
        guard state.channels.count == expected,
          state.channels.values.allSatisfy({ $0.syncs >= marker })
        else { return nil }
        state.released = marker
        return .passed
      }
      switch passed {
      case .passed: return
      case .failure(let failure): throw failure
      case .ended(let id):
        let (place, why) = ("channel \(id)", "the source closed it before sync point \(marker)")
        throw state.read({ $0.standby }) ? ended(place, why) : Failure(.failed, place, why)
      case nil: break
      }
      // A checkpoint has its own limit, if any.
      if options.standby?.checkpointTimeout != nil, state.read({ $0.standby }) { continue }
      // A slow link may need longer than the time-out for what is under way; silence is what counts.
      guard bytesMoved != moved else { throw missing(marker) }
      moved = bytesMoved
    }
  }

  /// How many channels there are when the operator has not said: those that connected before the source
  /// reached its first sync point, which it does only after it has opened all of them.
  private func fixChannelCount(_ needsChannels: Bool) throws(Failure) {
    if needsChannels {
      _ = state.wait(seconds: options.timeout) { state in
        state.failure != nil || !state.channels.isEmpty ? () : nil
      }
    }
    // On a network a connection's last handshake packet can be overtaken by the main channel's bytes.
    let settle = 0.05
    var count = -1
    while true {
      let now = state.read { $0.unnamed.count + $0.channels.count }
      if now == count { break }
      count = now
      _ = state.wait(seconds: settle) { $0.failure != nil ? () : nil }
    }
    // A connection that has not said what it is yet may be a channel: without it, pages would be missing
    // and nobody would notice.
    _ = state.take(seconds: options.timeout) { state -> Void? in
      guard state.failure != nil || (state.unnamed.isEmpty && state.anonymous == 0) else {
        return nil
      }
      // Numbers have no gaps: a gap is a channel that is on its way.
      if state.mute == 0 {
        state.expected = max(state.channels.count, (state.channels.keys.max() ?? -1) + 1)
      }
      return ()
    }
    if let failure { throw failure }
    let silent = state.update { state in
      // Who is silent that long is no channel, if there are no others.
      if state.unnamed.isEmpty && state.channels.isEmpty { state.expected = 0 }
      return state.expected == nil ? state.unnamed.count + state.anonymous + state.mute : 0
    }
    guard silent == 0 else {
      throw Failure(
        .unreachable, "multifd",
        "\(silent) of the connections have said nothing within \(options.timeout.formatted) s",
        hint: "if they are none of the source's, tell --channels")
    }
    guard !needsChannels || state.read({ $0.expected }) != 0 else {
      throw Failure(
        .unreachable, "multifd",
        "the source uses it, but no channel has connected within "
          + "\(options.timeout.formatted) s")
    }
  }

  private func missing(_ marker: Int) -> Failure {
    state.read { state in
      let expected = state.expected ?? 0
      let absent = (0..<expected).filter { state.channels[$0] == nil }
      if let first = absent.first {
        return Failure(
          .unreachable, "channel \(first)",
          "it has not connected within \(options.timeout.formatted) s "
            + "(\(expected - absent.count) of \(expected) have)",
          hint: "make --channels equal to the source's multifd-channels, or leave it out")
      }
      let late = state.channels.filter { $1.syncs < marker }.keys.sorted()
      return Failure(
        .unreachable, "channel \(late.first ?? 0)",
        "silent for \(options.timeout.formatted) s before sync point \(marker)")
    }
  }
}
