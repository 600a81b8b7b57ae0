import Observe

/// What has become of an interface's packets.
public struct PacketCounts: Codable, Equatable, Sendable {
  /// Packets that wait for their checkpoint.
  public var held = 0
  /// Bytes of memory that packets are in, those that may leave and have not left included.
  public var bytes = 0
  /// The most that these have been.
  public var most = 0
  /// Packets that found no room.
  public var dropped = 0
  /// Packets whose checkpoint has come, or that were let through.
  public var released = 0
  /// How often a checkpoint was asked for.
  public var asked = 0
  /// How long released packets have waited, in milliseconds.
  public var wait: Timings.Summary = Timings().summary
}
