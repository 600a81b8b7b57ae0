import Foundation
import Migration
import Transport

/// What a `protect` is to do.
public struct ProtectOptions: Sendable {
  /// How a QEMU's monitor is reached.
  public enum Monitor: Sendable {
    /// A socket that speaks QMP.
    case socket(Endpoint)
    /// A shell's command that takes a command as its last argument and prints the answer.
    case command(String)
  }

  /// Which disks.
  public enum Disks: Sendable, Equatable {
    /// Nothing was said.
    case none
    /// All that are written to.
    case all
    /// These nodes, and what their exports are called.
    case named([Pair])

    /// A node, and its export's name.
    public struct Pair: Sendable, Equatable {
      /// What QEMU calls it.
      public var node: String
      /// What the standby calls it.
      public var name: String

      /// `NODE` or `NODE=NAME`.
      public init(parsing text: String) {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        node = parts.first ?? text
        name = parts.count == 2 ? parts[1] : node
      }
    }
  }

  /// Which netdevs.
  public enum Nets: Sendable, Equatable {
    /// None: packets leave at once.
    case none
    /// All that have a device.
    case all
    /// These ids.
    case named([String])
  }

  /// The guest's monitor.
  public var monitor: Monitor
  /// Another one of the same guest, for when that stands still.
  public var outOfBand: Endpoint?
  /// Where its standby listens.
  public var standby: Endpoint
  /// By what it is reached; nil: in clear.
  public var tls: ProtectTLS?
  /// See ``Disks``.
  public var disks = Disks.none
  /// See ``Nets``.
  public var nets = Nets.none
  /// Milliseconds between checkpoints: at least, when packets wait, and at the most.
  public var checkpoint = CheckpointInterval(shortest: 5, longest: 200)
  /// Milliseconds that a packet waits before a checkpoint is asked for.
  public var linger = 2.0
  /// A folder in which QEMU can make sockets for packets.
  public var sockets = "/tmp"
  /// multifd channels; 0: none.
  public var channels = 0
  /// `multifd-compression`; nil: none.
  public var compression: String?
  /// Bytes a second; nil: as much as there is.
  public var maxBandwidth: Int?
  /// Protect again as soon as a standby answers.
  public var retries = false
  /// Seconds: the longest that the guest may be silent.
  public var patience = 3.0

  /// A shell command that makes sure that a standby which was lost does not go on with the guest;
  /// nil: the guest goes on alone without.
  public var fence: String?
  /// Seconds that it may take.
  public var fenceTimeout = 60.0

  /// With defaults for all else.
  public init(monitor: Monitor, standby: Endpoint) {
    self.monitor = monitor
    self.standby = standby
  }

  /// TLS to the standby, by what is in its folder now; nil: in clear.
  func standbyTLS() throws(Failure) -> StandbyTLS? {
    guard let tls else { return nil }
    return try StandbyTLS(tls, of: standby)
  }

  /// How long QEMU, and the standby, may be silent: what is left is for letting go of them.
  var silence: Double { patience * 2 / 3 }

  /// How long the guest's writes may wait for the standby. Shorter: those that stand still are
  /// noticed a look later, and the guest has waited since the first of them.
  var longestWrite: Double { patience * 0.5 }
}

/// Milliseconds between a guest's checkpoints.
public struct CheckpointInterval: Sendable, Equatable {
  /// The least, when packets wait for one.
  public var shortest: Int
  /// The most: QEMU's `x-checkpoint-delay`.
  public var longest: Int

  /// What either may be.
  static let milliseconds = 1...3_600_000

  /// From one to the other.
  public init(shortest: Int, longest: Int) {
    self.shortest = shortest
    self.longest = longest
  }

  /// `100ms`, `5ms..10s`; nil where it is neither.
  public init?(parsing text: String) {
    let parts = text.components(separatedBy: "..").map(Self.duration)
    guard (1...2).contains(parts.count), let first = parts[0], let last = parts[parts.count - 1],
      first <= last
    else { return nil }
    self.init(shortest: parts.count == 1 ? min(5, first) : first, longest: last)
  }

  private static func duration(_ text: String) -> Int? {
    let digits = text.prefix { $0.isNumber }
    guard let number = Int(digits) else { return nil }
    switch text.dropFirst(digits.count) {
    case "ms": return milliseconds.contains(number) ? number : nil
    case "s": return (1...milliseconds.upperBound / 1000).contains(number) ? number * 1000 : nil
    default: return nil
    }
  }
}
