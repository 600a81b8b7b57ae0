import Foundation

extension WholeGuest {
  /// How a standby is interrupted that comes back.
  public enum Interruption: String, Sendable, CaseIterable {
    /// It is killed.
    case kill
    /// It is stopped (SIGSTOP), and goes on when it has been given up.
    case stop
    /// Only its disks' server does nothing, until it has been given up.
    case server
  }

  /// What came of it.
  public struct Return: Sendable {
    /// How long the guest was silent.
    public let silence: Duration
    /// From the interruption to the first checkpoint at the next standby.
    public let unprotected: Duration
    /// Disks of which only what had changed was copied.
    public let resumed: Int
    /// Disks that were copied anew.
    public let anew: Int
  }

  /// Interrupts the standby, lets the guest go on alone, and starts the standby again with its
  /// images: `multifd protect` does the rest by itself.
  public func interrupt(_ how: Interruption) throws -> Return {
    let lost = Moment(protect)
    switch how {
    case .kill: signalStandby(SIGKILL)
    case .stop: signalStandby(SIGSTOP)
    case .server: links[1].hang()
    }
    let silence = try waitAlone(since: lost)
    switch how {
    case .kill: break
    case .stop: signalStandby(SIGCONT)
    case .server: links[1].goOn()
    }
    guard standby.process.wait(.seconds(30)) != nil else {
      throw LabError("the standby does not notice that its primary is gone: \(complaints)")
    }
    try startAgain(adopting: true)
    let unprotected = lost.time.duration(to: .now)
    try waitHeard()
    guard primary.console.trouble.isEmpty else {
      throw Inconsistency("the primary's guest: \(primary.console.trouble.prefix(3))")
    }
    let said = (protect?.process.errors.lines ?? []).dropFirst(lost.lines).map(\.text)
    return Return(
      silence: silence, unprotected: unprotected,
      resumed: said.count { $0.hasSuffix("copying what has changed") },
      anew: said.count { $0.hasSuffix("copying all of it") })
  }

  /// How often `multifd protect` has given a standby up.
  public var losses: Int {
    protect?.process.errors.lines.count { $0.text.contains("unprotected since") } ?? 0
  }
}
