import Migration
import Observe
import Synchronization

/// What one multifd channel of a relay has moved. Its thread writes, anybody reads.
final class RelayTraffic: Sendable {
  /// From the source.
  let received: Counters
  /// To the far side.
  let sent = Counters()
  /// In backends. Decoding waits for what is still on its way.
  let codec = Stopwatch()
  /// What formats were chosen; known at the end.
  let uses = Mutex<[FormatUse]>([])
  /// For the source to send something.
  let waiting = Stopwatch()

  init(received: Counters) { self.received = received }
}
