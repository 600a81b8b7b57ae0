/// A version of the link (docs/LINK.md section 2).
///
/// Majors exclude one another. A minor only adds fields, so two minors understand one another, and
/// what the older one must not ignore is a critical field.
public struct LinkVersion: Equatable, Sendable, CustomStringConvertible {
  /// 1 of 1.0.
  public var major: UInt16
  /// 0 of 1.0.
  public var minor: UInt16

  /// What this program speaks.
  public static let current = LinkVersion(1, 0)

  /// A version.
  public init(_ major: UInt16, _ minor: UInt16) {
    self.major = major
    self.minor = minor
  }

  /// `1.0`.
  public var description: String { "\(major).\(minor)" }
}
