import Migration

/// What an operator decides about a failover.
public struct FailoverOptions: Sendable {
  /// The folder that holds the guest.
  public var store: String
  /// QEMU and its arguments: those of the primary, without `-incoming`.
  public var command: [String]
  /// A shell command that makes sure that the primary is dead. It must exit 0, or nothing is
  /// started.
  public var fence: String?
  /// Seconds that the fence may take; then it is killed, and nothing is started.
  public var fenceTimeout = 60.0
  /// Seconds that the new QEMU may take for each step.
  public var timeout = 30.0
  /// Where QEMU's stdout and stderr go; nil: `qemu.log` in the store.
  public var qemuLog: String?
  /// Start it also from a store whose guest may run elsewhere.
  public var force = false

  /// Refuses time-outs that are none.
  func check() throws(Failure) {
    try Failure.check(timeout, "failover")
    try Failure.check(fenceTimeout, "fence")
  }

  /// The usual options.
  public init(store: String, command: [String]) {
    self.store = store
    self.command = command
  }
}
