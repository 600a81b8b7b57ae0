import Migration

/// The monitor of a QEMU that runs already, however it is reached. From any thread.
package protocol GuestMonitor: Sendable {
  /// Whether it tells what happens by itself. Where it does not, it has to be asked.
  var tellsEvents: Bool { get }
  /// Whether it takes commands that are answered while QEMU's main loop stands still.
  var takesOutOfBand: Bool { get }

  /// Who runs that QEMU, where it is known.
  var user: UInt32? { get }

  /// Runs a command.
  ///
  /// - Parameters:
  ///   - command: as QMP names it.
  ///   - arguments: an object, or null for none.
  ///   - seconds: how long to wait for the answer.
  ///   - outOfBand: past all that QEMU's main loop has to do; only some commands may.
  /// - Returns: what it returns.
  func execute(
    _ command: String, _ arguments: QMPValue, within seconds: Double, outOfBand: Bool
  ) throws(MonitorError) -> QMPValue
}

extension GuestMonitor {
  /// Runs a command in its turn.
  @discardableResult
  package func execute(
    _ command: String, _ arguments: QMPValue = .null, within seconds: Double
  ) throws(MonitorError) -> QMPValue {
    try execute(command, arguments, within: seconds, outOfBand: false)
  }

  /// Takes an object out, where there is one.
  package func removeObject(_ id: String, within seconds: Double) throws(MonitorError) {
    do {
      try execute("object-del", ["id": .string(id)], within: seconds)
    } catch  where error.kind == .refused {}
  }

  /// Runs a line of the human monitor, and gives what it prints.
  package func human(_ line: String, within seconds: Double) throws(MonitorError) -> String {
    let arguments: QMPValue = ["command-line": .string(line)]
    return try execute("human-monitor-command", arguments, within: seconds).string ?? ""
  }
}

/// A command that was not carried out, as far as is known.
package struct MonitorError: Error, Sendable, Equatable, CustomStringConvertible {
  /// How that is known.
  package enum Kind: Sendable {
    /// QEMU has said no.
    case refused
    /// It has said nothing in time: it may carry it out yet.
    case silent
    /// There is no QEMU at the other end any more.
    case closed
  }

  /// How that is known.
  package var kind: Kind
  /// One line for people.
  package var description: String

  /// An error with its text.
  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  /// For a role's end.
  package var failure: Failure {
    switch kind {
    case .refused: Failure(.failed, "qemu", description)
    case .silent: Failure(.unreachable, "qemu", description)
    case .closed: .gone("qemu", description)
    }
  }
}
