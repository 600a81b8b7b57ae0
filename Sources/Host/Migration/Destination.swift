import Transport

/// Where a guest is to go: a QEMU, or the far side of a link.
public struct Destination: Equatable, Sendable, CustomStringConvertible {
  /// It is a link's: `link:` stands before its URI.
  public var isLink: Bool
  /// Where it listens.
  public var endpoint: Endpoint

  /// A destination.
  public init(_ endpoint: Endpoint, isLink: Bool = false) {
    self.endpoint = endpoint
    self.isLink = isLink
  }

  /// Parses `URI` or `link:URI`.
  public init(parsing text: String) throws(TransportError) {
    let prefix = "link:"
    isLink = text.hasPrefix(prefix)
    endpoint = try Endpoint(parsing: isLink ? String(text.dropFirst(prefix.count)) : text)
  }

  /// As it is parsed.
  public var description: String { (isLink ? "link:" : "") + endpoint.description }
}
