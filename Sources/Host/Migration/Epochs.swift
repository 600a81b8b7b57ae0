/// Which epoch each channel and the main channel are in. A value without a clock and a lock:
/// ``Session`` has both.
///
/// All data before the k-th SYNC of a channel belongs to epoch k. The main channel passes its k-th
/// marker when every channel has met its k-th SYNC; a channel that has met it waits until then. So
/// pages of different epochs never mix, in whatever order the connections deliver.
package struct Epochs: Equatable, Sendable {
  /// A channel as far as epochs go.
  package struct Channel: Equatable, Sendable {
    /// SYNC packets met.
    package var syncs = 0
    /// The source closed it, properly, between two packets.
    package var hasEnded = false
  }

  /// What stands between the main channel and its next marker's other side.
  package enum Obstacle: Equatable {
    /// A channel that was closed before its SYNC.
    case ended(Int)
    /// Channels that are not there yet, or have not met their SYNC.
    case wait
  }

  /// By number.
  package private(set) var channels: [Int: Channel] = [:]
  /// How many channels there are; nil while that is not known.
  package var expected: Int?
  /// Markers that the main channel has passed.
  package private(set) var passed = 0

  /// Nobody has joined.
  package init() {}

  /// How many channels there are, as far as that is known.
  package var count: Int { max(expected ?? 0, (channels.keys.max() ?? -1) + 1) }

  /// Numbers have no gaps: a gap is a channel that is on its way.
  package var countWithGaps: Int { max(channels.count, (channels.keys.max() ?? -1) + 1) }

  /// A channel has told its number.
  package mutating func add(_ id: Int) { channels[id] = Channel() }

  /// A channel has met a SYNC.
  ///
  /// - Returns: which of its own that was: it waits until so many markers are passed.
  package mutating func met(_ id: Int) -> Int {
    channels[id]!.syncs += 1
    return channels[id]!.syncs
  }

  /// The source has closed a channel, properly.
  package mutating func end(_ id: Int) { channels[id]!.hasEnded = true }

  /// The main channel passes its next marker, if it may.
  ///
  /// - Returns: why it may not.
  package mutating func pass() -> Obstacle? {
    let marker = passed + 1
    if let ended = channels.filter({ $1.hasEnded && $1.syncs < marker }).keys.min() {
      return .ended(ended)
    }
    guard areAllMet else { return .wait }
    passed = marker
    return nil
  }

  /// Every channel that there is to be has met the SYNC of the next marker.
  package var areAllMet: Bool {
    channels.count == expected ?? 0 && channels.values.allSatisfy { $0.syncs > passed }
  }

  /// Channels that have not met the SYNC of the next marker.
  package var late: [Int] { channels.filter { $1.syncs <= passed }.keys.sorted() }

  /// Channels that are expected and not there.
  package var absent: [Int] { (0..<(expected ?? 0)).filter { channels[$0] == nil } }

  /// The first channel that has gone beyond the main channel's last marker.
  package var ahead: Int? { channels.filter { $1.syncs > passed }.keys.min() }
}
