import Wire

/// All that a COLO primary says in a session.
package struct PrimaryScript: Sendable {
  /// What it says before it waits.
  package struct Burst: Sendable {
    package var main: [UInt8] = []
    /// By number; they may come in any order beside the main channel's bytes.
    package var channels: [[UInt8]]

    /// What goes over each connection.
    package init(main: [UInt8] = [], channels: [[UInt8]]) {
      (self.main, self.channels) = (main, channels)
    }
  }

  /// PONG, SHUT and switchover-ack are awaited: a primary of 11.x.
  package var listens: Bool
  /// From the first byte to the end of the migration.
  package var precopy: Burst
  /// From VMSTATE_SEND to the last byte of device state. REQUEST goes before each of them.
  package var checkpoints: [Burst]
  /// The devices' state at the end of precopy (index 0) and in each checkpoint.
  package var deviceStates: [[UInt8]]
  /// The guest at the end of precopy (0) and at each checkpoint.
  package var image: @Sendable (Int) -> GuestImage

  /// multifd channels.
  package var channelCount: Int { precopy.channels.count }

  /// A session.
  package init(
    listens: Bool, precopy: Burst, checkpoints: [Burst], deviceStates: [[UInt8]],
    image: @escaping @Sendable (Int) -> GuestImage
  ) {
    (self.listens, self.precopy, self.checkpoints) = (listens, precopy, checkpoints)
    (self.deviceStates, self.image) = (deviceStates, image)
  }

  /// Bytes of a connection up to and including a checkpoint; 0 is the main channel.
  package func length(of connection: Int, upTo checkpoint: Int) -> Int {
    let bursts = [precopy] + checkpoints.prefix(checkpoint)
    guard connection > 0 else {
      return bursts.reduce(0) { $0 + $1.main.count } + 4 * checkpoint
    }
    return bursts.reduce(0) { $0 + $1.channels[connection - 1].count }
  }
}
