/// The QEMU version that a machine type names: `pc-q35-10.0` is 10.0. What a source or destination
/// does depends on it more than on the binary's own version (SPECIFICATION section 1.6).
public struct MachineVersion: Comparable, Sendable, CustomStringConvertible {
  /// 10 of 10.0.
  public var major: Int
  /// 0 of 10.0.
  public var minor: Int

  /// A version.
  public init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// From a machine type's name; nil when it names no version (`microvm`, `none`).
  public init?(machine: String) {
    guard let dash = machine.utf8.lastIndex(of: UInt8(ascii: "-")) else { return nil }
    let parts = machine[dash...].dropFirst().split(separator: ".")
    guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1]) else { return nil }
    self.init(major, minor)
  }

  /// By major, then minor.
  public static func < (left: Self, right: Self) -> Bool {
    (left.major, left.minor) < (right.major, right.minor)
  }

  /// `10.0`.
  public var description: String { "\(major).\(minor)" }

  /// The last version whose machine types sync multifd at the end of every RAM section.
  public static let lastWithSectionSync = MachineVersion(8, 0)

  /// The last version whose sources end multifd channels with TLS without saying so.
  public static let lastWithAbruptEnds = MachineVersion(9, 2)

  /// The versions whose sources know SWITCHOVER_ACK and expect it without being asked for it. Older
  /// binaries fail the migration when they get one, and so do newer machine types.
  public static let withUnaskedSwitchoverAck = MachineVersion(8, 1)...MachineVersion(11, 0)
}
