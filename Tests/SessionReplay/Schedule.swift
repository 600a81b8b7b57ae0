import TestSupport

/// In which order the steps of an epoch happen that come over different connections. Within a
/// connection they stay in order; across a sync point nothing moves.
public enum Schedule: Sendable, CustomStringConvertible {
  /// The main channel runs ahead of the others as far as it may.
  case mainFirst
  /// The channels run ahead, the last one first.
  case channelsFirst
  /// Mixed by chance, the same for the same seed.
  case mixed(seed: UInt64)
  /// Wrong on purpose: all channels run ahead to their ends, sync points or not.
  case ignoringSyncPoints

  /// For a test's name.
  public var description: String {
    switch self {
    case .mainFirst: "main first"
    case .channelsFirst: "channels first"
    case .mixed(let seed): "mixed by seed \(seed)"
    case .ignoringSyncPoints: "ignoring sync points"
    }
  }
}

extension StreamScript {
  /// All steps, in one of the orders that the sync points allow.
  public func steps(_ schedule: Schedule = .mainFirst) -> [Step] {
    var generator = SeededGenerator(seed: 0)
    if case .mixed(let seed) = schedule { generator = SeededGenerator(seed: seed) }
    if case .ignoringSyncPoints = schedule {
      return channels.indices.flatMap { channel in
        channels[channel].packets.indices.map { .packet(channel: channel, index: $0) }
      } + epochs.flatMap(\.main)
    }
    return epochs.flatMap { epoch -> [Step] in
      // A checkpoint's packets come after its begin, and what ends a checkpoint has no packets
      // beside it.
      let free = epoch.main.lastIndex(where: \.isBoundary).map { $0 + 1 } ?? 0
      var main = Array(epoch.main[free...])
      var marker: [Step] = []
      if case .marker = main.last { marker = [main.removeLast()] }
      let packets = epoch.packets.enumerated().map { channel, range in
        range.map { Step.packet(channel: channel, index: $0) }
      }
      let mixed: [Step] =
        switch schedule {
        case .mainFirst: main + packets.joined()
        case .channelsFirst: packets.reversed().joined() + main
        default: Self.mix([main] + packets, &generator)
        }
      return epoch.main[..<free] + mixed + marker
    }
  }

  private static func mix(_ streams: [[Step]], _ generator: inout SeededGenerator) -> [Step] {
    var rest = streams.map { $0[...] }
    var mixed: [Step] = []
    while true {
      let open = rest.indices.filter { !rest[$0].isEmpty }
      guard let next = open.randomElement(using: &generator) else { return mixed }
      // Runs of several steps, as connections deliver them.
      let count = Int.random(in: 1...16, using: &generator)
      mixed += rest[next].prefix(count)
      rest[next] = rest[next].dropFirst(count)
    }
  }
}

extension StreamScript {
  /// Steps of one connection after the other, or of several at once.
  public enum Phase: Sendable {
    /// In this order, nothing beside them.
    case alone([Step])
    /// One list for the main channel and one for each other; they may run at the same time.
    case together([[Step]])
  }

  /// All steps, with what may be concurrent side by side.
  public var phases: [Phase] {
    epochs.flatMap { epoch -> [Phase] in
      let free = epoch.main.lastIndex(where: \.isBoundary).map { $0 + 1 } ?? 0
      let packets = epoch.packets.enumerated().map { channel, range in
        range.map { Step.packet(channel: channel, index: $0) }
      }
      return [
        .alone(Array(epoch.main[..<free])), .together([Array(epoch.main[free...])] + packets),
      ]
    }
  }
}
