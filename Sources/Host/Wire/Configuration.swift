/// The configuration element: what the source tells about its machine (SPECIFICATION section 1.3).
public struct Configuration: Equatable, Sendable {
  /// The machine type, such as `pc-q35-10.0`; a destination must have the same.
  public var machine: String
  /// log2 of the page size, only where it is not the target's default (never on x86).
  public var pageBits: UInt32?
  /// Capabilities that a destination must have set alike: `x-ignore-shared`, `mapped-ram`.
  public var capabilities: [String]
  /// Only with the capability `validate-uuid`.
  public var uuid: VMUUID?

  /// The capability with which shared RAM blocks stay where they are.
  public static let ignoreShared = "x-ignore-shared"
  static let mappedRAM = "mapped-ram"
  /// No machine type comes near.
  static let maxNameLength: UInt32 = 1024
  /// QEMU validates two.
  static let maxCapabilities: UInt32 = 64

  /// A configuration to be encoded, or to be compared with.
  public init(
    machine: String, pageBits: UInt32? = nil, capabilities: [String] = [], uuid: VMUUID? = nil
  ) {
    self.machine = machine
    self.pageBits = pageBits
    self.capabilities = capabilities
    self.uuid = uuid
  }

  /// True when blocks in shared memory are listed with their guest address and not sent.
  public var ignoresShared: Bool { capabilities.contains(Self.ignoreShared) }

  private static let prefix = "configuration/"

  /// Decodes an element that begins with the type byte 07 at stream offset `position`.
  ///
  /// Only the byte after the element tells where it ends, so one more than the element is needed.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, at position: UInt64
  ) throws(WireError) -> Partial<Configuration> {
    var cursor = Cursor(bytes, from: 1)
    guard let length = cursor.u32() else { return .missing(cursor.missing) }
    guard length > 0, length <= maxNameLength else {
      throw WireError(
        .badLength, at: position + 1,
        "the machine type's name has 1 to \(maxNameLength) bytes, found \(length)")
    }
    guard let machine = cursor.bytes(Int(length)) else { return .missing(cursor.missing) }
    guard machine.isPrintable else {
      throw WireError(.badName, at: position + 5, "the machine type's name has unprintable bytes")
    }
    var configuration = Configuration(machine: machine.text)
    // Each subsection at most once, in QEMU's order: 3 rounds at most.
    var rank = 0
    while true {
      guard let next = cursor.peek() else { return .missing(cursor.missing) }
      guard next == 5 else { return .whole(configuration, size: cursor.offset) }
      let start = position + UInt64(cursor.offset)
      _ = cursor.u8()
      guard let name = try cursor.name(of: "a configuration subsection", at: position) else {
        return .missing(cursor.missing)
      }
      guard let version = cursor.u32() else { return .missing(cursor.missing) }
      guard version == 1 else {
        throw WireError(.badVersion, at: start, "\(name.text) has version \(version), expected 1")
      }
      let found: Int
      switch name.text {
      case prefix + "target-page-bits":
        found = 1
        guard let bits = cursor.u32() else { return .missing(cursor.missing) }
        configuration.pageBits = bits
      case prefix + "capabilities":
        found = 2
        guard let count = cursor.u32() else { return .missing(cursor.missing) }
        guard count <= maxCapabilities else {
          throw WireError(
            .limitExceeded, at: start, "\(count) capabilities, \(maxCapabilities) are allowed")
        }
        for _ in 0..<count {
          guard let name = try cursor.name(of: "a capability", at: position) else {
            return .missing(cursor.missing)
          }
          configuration.capabilities.append(name.text)
        }
      case prefix + "uuid":
        found = 3
        guard let uuid = cursor.bytes(16) else { return .missing(cursor.missing) }
        configuration.uuid = VMUUID(high: uuid.u64(0), low: uuid.u64(8))
      default:
        throw WireError(.unknownElement, at: start, "unknown subsection \(name.text)")
      }
      guard found > rank else {
        throw WireError(.outOfOrder, at: start, "subsection \(name.text) is repeated or misplaced")
      }
      rank = found
    }
  }

  /// The whole element, type byte included. Subsections that say nothing are left out.
  public func encode() -> [UInt8] {
    func subsection(_ name: String) -> [UInt8] {
      var bytes: [UInt8] = [5]
      bytes.append(counted: (Self.prefix + name).utf8)
      bytes.append(bigEndian: UInt32(1))
      return bytes
    }
    var bytes: [UInt8] = [7]
    bytes.append(bigEndian: UInt32(machine.utf8.count))
    bytes += Array(machine.utf8)
    if let pageBits {
      bytes += subsection("target-page-bits")
      bytes.append(bigEndian: pageBits)
    }
    if !capabilities.isEmpty {
      bytes += subsection("capabilities")
      bytes.append(bigEndian: UInt32(capabilities.count))
      for capability in capabilities { bytes.append(counted: capability.utf8) }
    }
    if let uuid {
      bytes += subsection("uuid")
      bytes += uuid.bytes
    }
    return bytes
  }
}
