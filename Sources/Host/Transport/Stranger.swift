/// A connection that is none of a source's.
public enum Stranger: Equatable, Sendable {
  /// It was closed before it had introduced itself: a port scan, a health check. So many bytes had
  /// come.
  case closed(after: Int)
  /// It has not introduced itself within the time limit. So many bytes have come.
  case silent(after: Int)
  /// It connected before the main channel, and had not introduced itself soon after that one had.
  case early
  /// A multifd channel without a main channel.
  case alone
  /// A source's, where there is one already: said by whoever has that one.
  case second
  /// It is a multifd channel, and comes from another host than the main channel.
  case elsewhere
  /// Its host has made more connections than are looked at.
  case crowd
  /// It speaks without TLS where that is asked for.
  case plain
  /// It wants to speak by TLS where there is none.
  case encrypted
  /// It has not come through the handshake of TLS: why.
  case untrusted(String)
  /// It speaks something else: its first bytes, four at the most.
  case foreign([UInt8])
  /// It began like a source's and then was none: why.
  case broken(String)
}
