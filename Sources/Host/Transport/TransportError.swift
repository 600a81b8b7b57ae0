// Transport: sockets and URIs. Moves bytes; knows no format.

/// A connection that did not do what it should.
public struct TransportError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of failure.
  public enum Kind: Equatable, Sendable {
    /// The peer closed the connection where more was due.
    case closed
    /// The connection was reset: nobody is at the other end any more.
    case reset
    /// Nothing came, or could be sent, within the time limit.
    case timedOut
    /// The kernel has given the connection up: the peer's machine, or the way to it, is gone.
    case lost
    /// No connection could be made.
    case unreachable
    /// A system call failed on an established connection, for a reason of this machine's: memory,
    /// descriptors, a fault. Nothing is known of the peer.
    case local
    /// The peer is not who it must be, or does not take who this is, or what has come is not from
    /// it.
    case untrusted
    /// Others than this machine could connect, without TLS, and nobody has said that they may.
    case exposed
    /// A URI that cannot be understood, or that names a descriptor which is not what it must be.
    case badURI
  }

  /// What kind of failure.
  public var kind: Kind
  /// One line for people.
  public var message: String

  /// An error with its text.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// The message.
  public var description: String { message }
}
