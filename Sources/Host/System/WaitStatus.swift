/// How a process ended.
public enum WaitStatus: Equatable, Sendable, CustomStringConvertible {
  /// It exited with this code.
  case code(Int32)
  /// This signal ended it.
  case signal(Int32)
  /// It has ended, and somebody else has been told how: so it is where SIGCHLD is ignored.
  case unknown

  /// What wait(2) tells of a process that has ended.
  public init(_ status: Int32) {
    let signal = status & 0x7f
    self = signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
  }

  /// The exit code; nil when it did not exit by itself.
  public var code: Int32? { if case .code(let code) = self { code } else { nil } }

  /// The signal that ended it, if one did.
  public var signal: Int32? { if case .signal(let number) = self { number } else { nil } }

  /// `7`, `signal 9`, or `an unknown status`.
  public var description: String {
    switch self {
    case .code(let code): "\(code)"
    case .signal(let number): "signal \(number)"
    case .unknown: "an unknown status"
    }
  }
}
