import Store

/// What is measured, and on what.
public struct CheckpointBenchOptions: Sendable {
  /// The QEMU of the primary, and of the secondary: a program, perhaps with words before its own
  /// arguments.
  public var primary: [String]
  /// A stock COLO secondary to compare with; nil: none.
  public var secondary: [String]?
  /// A guest of the operator's own: the primary's arguments. Empty: the load guest on a q35
  /// machine.
  public var guest: [String] = []
  /// Seconds that a guest of the operator's own gets before it is protected.
  public var settle = 10.0
  /// `-accel`'s of the load guest's machine, the best first.
  public var accelerators = ["kvm", "tcg"]
  /// MiB of RAM of the load guest's machine.
  public var memory = 512
  /// MiB that the load guest goes round in.
  public var workingSet = 64
  /// MiB/s that the load guest rewrites, a row each.
  public var loads = [0, 32]
  /// `multifd-channels`, a row each; 0 is without multifd.
  public var channels = [0, 4]
  /// `multifd-compression`.
  public var compression = "none"
  /// `x-checkpoint-delay`, ms.
  public var delay = 600
  /// Checkpoints of each row.
  public var checkpoints = 100
  /// The cache of our standby.
  public var cache = Manifest.Cache.sparse
  /// Where the store of our standby is made.
  public var folder = "/dev/shm"
  /// Seconds that anything may take that a QEMU is asked for.
  public var timeout = 30.0

  /// The usual ones.
  public init(primary: [String]) { self.primary = primary }
}
