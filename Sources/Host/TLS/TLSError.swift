// TLS: encrypts a connection and knows who is at its other end, by GnuTLS. Knows no stream.

/// TLS that did not come about, or has ended.
public struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of failure.
  public enum Kind: Equatable, Sendable {
    /// The folder of credentials, or a file in it, cannot be used.
    case credentials
    /// One side does not accept the other, or what has come was changed on its way.
    case refused
    /// The connection has ended, and the peer has not said that it would.
    case ended
    /// Nothing came, or could be sent, within the connection's time limit.
    case silent
    /// A system call has failed, with this `errno`.
    case system(Int32)
  }

  /// What kind of failure.
  public var kind: Kind
  /// One line for people.
  public var message: String
  /// What the operator could do.
  public var hint: String?

  init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }

  /// The message.
  public var description: String { message }
}
