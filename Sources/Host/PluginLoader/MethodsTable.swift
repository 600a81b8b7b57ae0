import PluginAPI

/// A backend's table, checked: what the header demands of MultiFDMethods, one refusal for each
/// rule.
struct MethodsTable {
  let methods: MultiFDMethods
  let name: String
  let version: String
  let wireFormat: String
  let description: String
  let qemuMethod: UInt32?
  let capabilities: BackendCapabilities
  let options: [BackendOption]

  /// sizeof(MultiFDMethods) of ABI 1.0: no table of this major is smaller.
  static let smallest = 128
  /// The most options that make sense, and what the probe reads.
  static let mostOptions = 256

  /// Checks the table at `address`, which lives as long as the process.
  init(_ address: UnsafeRawPointer?, of file: PluginFile) throws(PluginError) {
    let path = file.path
    guard let address else {
      throw .refused(path, "has no table for a host of ABI \(MULTIFD_ABI_MAJOR)")
    }
    try Self.checkHead(address, path)
    let bytes = copyTable(address, size: MemoryLayout<MultiFDMethods>.size)
    try Self.checkCallbacks(bytes, path)
    // All that Swift imports as non-null is now known to be so (names: below, as raw words).
    name = try Self.text(bytes, \.name, "name", limit: 31, path)
    version = try Self.text(bytes, \.version, "version", limit: 63, path)
    wireFormat = try Self.text(bytes, \.wire_format, "wire_format", limit: 40, path)
    description = try Self.text(bytes, \.description, "description", limit: 200, path)
    methods = bytes.withUnsafeBytes { $0.loadUnaligned(as: MultiFDMethods.self) }

    guard isBackendName(name.utf8) else {
      throw .refused(path, "its name \(quoted(name)) is not of the form [a-z0-9][a-z0-9_-]{0,30}")
    }
    try Self.check(name: name, of: file)
    guard isWireFormat(wireFormat) else {
      throw .refused(path, "its wire format \(quoted(wireFormat)) is not of the form NAME/N")
    }
    capabilities = try Self.capabilities(methods.capabilities, path)
    qemuMethod = try Self.qemuMethod(methods.qemu_method, path)
    guard methods.max_in_flight == 0 || methods.abi_minor > UInt16(MULTIFD_ABI_MINOR) else {
      throw .refused(
        path, "max_in_flight is \(methods.max_in_flight), reserved in this ABI version")
    }
    options = try BackendOption.table(of: methods, path: path)
    try Self.checkBound(methods, qemuMethod: qemuMethod, path)
  }

  /// A backend is called what its file is called, so that an operator finds the one by the other.
  static func check(name: String, of file: PluginFile) throws(PluginError) {
    guard name == file.name else {
      throw .refused(
        file.path, "calls itself \(quoted(name)), but its file name says \(quoted(file.name))",
        hint: "rename it to libmultifd-\(name).so")
    }
  }

  /// Magic, major, size: the only bytes that have a meaning before these are known to be right.
  private static func checkHead(_ address: UnsafeRawPointer, _ path: String) throws(PluginError) {
    let magic = address.loadUnaligned(as: UInt32.self)
    guard magic == MULTIFD_PLUGIN_MAGIC else {
      throw .refused(
        path, "its table starts with 0x\(hex(magic)), not 0x\(hex(MULTIFD_PLUGIN_MAGIC))")
    }
    let major = address.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
    let minor = address.loadUnaligned(fromByteOffset: 6, as: UInt16.self)
    guard major == UInt16(MULTIFD_ABI_MAJOR) else {
      throw .refused(
        path,
        "was built for plug-in ABI \(major).\(minor), this host speaks "
          + "\(MULTIFD_ABI_MAJOR).\(MULTIFD_ABI_MINOR)",
        hint: "rebuild it with this host's multifd_plugin.h, or use a host of its version")
    }
    let size = address.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    guard size >= UInt32(smallest) else {
      throw .refused(path, "its table has \(size) bytes, ABI 1.0 has \(smallest)")
    }
  }

  private static func word(
    _ bytes: [UInt8], _ member: PartialKeyPath<MultiFDMethods>
  ) -> UInt {
    let offset = MemoryLayout<MultiFDMethods>.offset(of: member)!
    return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt.self) }
  }

  private static func checkCallbacks(_ bytes: [UInt8], _ path: String) throws(PluginError) {
    let mandatory: [(String, PartialKeyPath<MultiFDMethods>)] = [
      ("payload_bound", \.payload_bound), ("send_setup", \.send_setup),
      ("send_cleanup", \.send_cleanup), ("send_prepare", \.send_prepare),
      ("recv_setup", \.recv_setup), ("recv_cleanup", \.recv_cleanup), ("recv", \.recv),
    ]
    for (name, member) in mandatory where word(bytes, member) == 0 {
      throw .refused(path, "its table has no \(name)(), which is mandatory")
    }
  }

  private static func text(
    _ bytes: [UInt8], _ member: PartialKeyPath<MultiFDMethods>, _ name: String, limit: Int,
    _ path: String
  ) throws(PluginError) -> String {
    guard let text = foreignText(UnsafeRawPointer(bitPattern: word(bytes, member)), limit: limit)
    else {
      throw .refused(path, "its \(name) is not one line of 1 to \(limit) bytes of text")
    }
    return text
  }

  private static func capabilities(
    _ bits: UInt32, _ path: String
  ) throws(PluginError) -> BackendCapabilities {
    let unknown = bits & ~BackendCapabilities.known.rawValue
    guard unknown == 0 else {
      throw .refused(
        path, "needs capability 0x\(hex(unknown)), which this host does not know",
        hint: "it was made for a later host")
    }
    let set = BackendCapabilities(rawValue: bits)
    guard set.contains(.stateful) != set.contains(.independent) else {
      throw .refused(path, "must declare exactly one of STATEFUL and INDEPENDENT")
    }
    return set
  }

  private static func qemuMethod(_ bits: UInt32, _ path: String) throws(PluginError) -> UInt32? {
    if bits == MULTIFD_QEMU_METHOD_UNKNOWN { return nil }
    guard QEMUMethod(rawValue: bits) != nil else {
      throw .refused(path, "its qemu_method 0x\(hex(bits)) is none of QEMU's methods")
    }
    return bits
  }

  /// Sense in payload_bound: nothing for no pages, room for pages that cannot be compressed, more
  /// for more pages, and for QEMU's formats what a stock QEMU can receive.
  private static func checkBound(
    _ methods: MultiFDMethods, qemuMethod: UInt32?, _ path: String
  ) throws(PluginError) {
    let none = methods.payload_bound(4096, 0)
    let one = methods.payload_bound(4096, 1)
    let packet = methods.payload_bound(4096, 128)
    guard none == 0 else {
      throw .refused(path, "payload_bound(4096, 0) is \(none), not 0")
    }
    if one == 0, packet == 0, qemuMethod == nil { return }  // pages of 4 KiB are not its business
    for (count, bound) in [(1, one), (128, packet)] {
      guard bound >= count * 4096 else {
        throw .refused(
          path, "payload_bound(4096, \(count)) is \(bound), less than pages that do not compress")
      }
      guard bound <= UInt64(UInt32.max) else {
        throw .refused(
          path, "payload_bound(4096, \(count)) is \(bound), more than a packet can carry")
      }
    }
    guard packet >= one else {
      throw .refused(path, "payload_bound says more for 1 page (\(one)) than for 128 (\(packet))")
    }
    guard qemuMethod == nil || packet <= UInt64(MULTIFD_QEMU_MAX_PAYLOAD) else {
      throw .refused(
        path,
        "payload_bound(4096, 128) is \(packet), a stock QEMU receives at most "
          + "\(MULTIFD_QEMU_MAX_PAYLOAD) bytes")
    }
  }
}

/// Text of a backend: UTF-8, 1 to `limit` bytes before its NUL, without control characters.
func foreignText(_ address: UnsafeRawPointer?, limit: Int, mayBeEmpty: Bool = false) -> String? {
  guard let address else { return nil }
  var bytes: [UInt8] = []
  // The header says that strings are NUL-terminated; the probe's child has read further than this.
  while bytes.count <= limit {
    let byte = address.load(fromByteOffset: bytes.count, as: UInt8.self)
    if byte == 0 { break }
    bytes.append(byte)
  }
  guard bytes.count <= limit, mayBeEmpty || !bytes.isEmpty,
    let text = String(validating: bytes, as: UTF8.self),
    !text.unicodeScalars.contains(where: isControl)
  else { return nil }
  return text
}

func hex(_ value: UInt32) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}

/// The first `size` bytes of the table at `address`, as `copyStruct` has them.
package func copyTable(_ address: UnsafeRawPointer, size: Int) -> [UInt8] {
  copyStruct(
    address, has: Int(address.loadUnaligned(fromByteOffset: 8, as: UInt32.self)), size: size)
}

/// The first `size` bytes of a backend's struct that has `has` bytes. Those that it does not have
/// (it is of an earlier minor) are zero, which is what an absent member counts as; what it has
/// beyond is cut.
func copyStruct(_ address: UnsafeRawPointer, has: Int, size: Int) -> [UInt8] {
  // `has` bytes are there by the backend's own word, which the probe's child has read up to ours.
  let bytes = UnsafeRawBufferPointer(start: address, count: min(has, size))
  return Array(bytes) + Array(repeating: 0, count: max(0, size - has))
}
