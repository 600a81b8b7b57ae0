import Observe

/// What one multifd channel of a relay has moved. Its thread writes, anybody reads.
final class RelayTraffic: Sendable {
  /// From the source.
  let received = Counters()
  /// To the far side.
  let sent = Counters()
  /// In backends. Decoding waits for what is still on its way.
  let codec = Stopwatch()
  /// For the source to send something.
  let waiting = Stopwatch()
}
