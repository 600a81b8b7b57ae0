import Glibc

/// A system call that failed.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The call as its manual page names it.
  public var call: String
  /// What it left in `errno`.
  public var errno: Int32

  /// Takes `errno` as it is now, unless told otherwise: make it the first thing after the call.
  public init(_ call: String, errno: Int32 = Glibc.errno) {
    self.call = call
    self.errno = errno
  }

  /// The error's text, as strerror(3) has it.
  public var reason: String {
    var text = [CChar](repeating: 0, count: 128)
    // The buffer outlives the call, and the XSI strerror_r closes it with a NUL.
    guard strerror_r(errno, &text, text.count) == 0 else { return "errno \(errno)" }
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// `call: reason`.
  public var description: String { "\(call): \(reason)" }
}
