import Foundation

/// How a protection stands: what is shown once a second.
public struct ProtectLine: Encodable, Sendable {
  /// What is going on.
  public enum State: String, Encodable, Sendable {
    /// A standby is looked for.
    case connecting
    /// Disks are copied.
    case copying
    /// Memory is copied.
    case precopy
    /// Checkpoints are taken.
    case protected
    /// The standby is lost, and the guest does not go on alone before its fence says so.
    case fencing
    /// The guest is alone.
    case unprotected
  }

  /// A disk.
  public struct Disk: Encodable, Sendable {
    /// The standby's name for it.
    public var name: String
    /// Bytes that the standby has.
    public var copied = 0
    /// Bytes in all, those that were written meanwhile included.
    public var total: Int
    /// What the standby says of it: `syncing`, `synced`, `protected`, `lost`.
    public var state = "-"
  }

  /// A netdev whose packets wait for their checkpoints.
  public struct Net: Encodable, Sendable {
    /// Its id.
    public var id: String
    /// Packets and bytes that wait.
    public var held = 0
    /// Bytes of them.
    public var bytes = 0
    /// Packets that have left.
    public var released = 0
    /// Packets for which there was no room.
    public var dropped = 0
    /// How often a checkpoint was asked for on their behalf.
    public var asked = 0
    /// Milliseconds that they waited; nil while none has left.
    public var waitMean: Double?
    /// Its 99th percentile, in milliseconds.
    public var waitP99: Double?

    enum CodingKeys: String, CodingKey {
      case id, held, bytes, released, dropped, asked
      case waitMean = "wait-mean"
      case waitP99 = "wait-p99"
    }

    /// Of a netdev without packets.
    public init(id: String) { self.id = id }
  }

  /// What is going on.
  public var state = State.connecting
  /// Since when, in seconds since 1970.
  public var since: Double
  /// The standby's last committed checkpoint; 0 before the first.
  public var checkpoint = 0
  /// Bytes of memory that are still to be copied, and in all; nil but in precopy.
  public var remaining: Int?
  /// Bytes in all.
  public var total: Int?
  /// The disks.
  public var disks: [Disk]
  /// The netdevs.
  public var nets: [Net] = []
  /// Why the guest is alone.
  public var reason: String?

  init(_ disks: [Assessment.Disk]) {
    since = Date().timeIntervalSince1970
    self.disks = disks.map { Disk(name: $0.name, total: $0.size) }
  }

  /// Something else goes on from now on.
  mutating func enter(_ state: State, reason: String? = nil) {
    if state != self.state { since = Date().timeIntervalSince1970 }
    self.state = state
    self.reason = reason
    (remaining, total) = (nil, nil)
  }
}
