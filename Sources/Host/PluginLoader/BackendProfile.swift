import PluginAPI

/// What a backend says of itself: all that there is to know of one without opening it.
public struct BackendProfile: Sendable {
  /// A version of the plug-in interface.
  public struct ABIVersion: Sendable, Equatable, CustomStringConvertible {
    /// Incompatible when different.
    public let major: Int
    /// Grows with additions.
    public let minor: Int
    /// `MAJOR.MINOR`.
    public var description: String { "\(major).\(minor)" }
  }

  /// What an operator types.
  public let name: String
  /// The backend's own version, for people.
  public let version: String
  /// `NAME/N`: backends that share it decode each other's payloads.
  public let wireFormat: String
  /// One line.
  public let description: String
  /// QEMU's method bits in a packet's flags; nil when stock QEMU does not know the format.
  public let qemuMethod: UInt32?
  /// What it can do, and what it asks for.
  public let capabilities: BackendCapabilities
  /// How many packets of a channel it has at a time; 0: one, and is done with it before the next.
  public let maxInFlight: Int
  /// It can make the file of an option from pages.
  public let trains: Bool
  /// What can be set.
  public let options: [BackendOption]
  /// The file, after symbolic links.
  public let path: String
  /// The version of the interface that it was built with.
  public let abiVersion: ABIVersion
  /// The most bytes that 128 pages of 4 KiB can become, a packet of QEMU's; nil when it does not
  /// take such pages.
  public let packetBound: Int?

  init(_ table: MethodsTable, path: String) {
    name = table.name
    version = table.version
    wireFormat = table.wireFormat
    description = table.description
    qemuMethod = table.qemuMethod
    capabilities = table.capabilities
    options = table.options
    maxInFlight = Int(table.methods.max_in_flight)
    trains = table.methods.train != nil
    abiVersion = ABIVersion(
      major: Int(table.methods.abi_major), minor: Int(table.methods.abi_minor))
    packetBound = table.packetBound == 0 ? nil : Int(table.packetBound)
    self.path = path
  }
}
