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

  /// The most bytes that 128 pages of 4 KiB can become; 0 where it does not take such pages.
  let packetBound: UInt64

  /// Checks what was read of a file's table; nil: it has handed out none.
  init(_ table: TableCopy?, of file: PluginFile) throws(PluginError) {
    let path = file.path
    guard let table else {
      throw .refused(path, "has no table for a host of ABI \(MULTIFD_ABI_MAJOR)")
    }
    let bytes = table.bytes
    try Self.checkHead(bytes, path)
    func text(
      _ number: Int, _ member: PartialKeyPath<MultiFDMethods>, _ name: String, limit: Int
    ) throws(PluginError) -> String {
      guard bytes.word(member) != 0, number < table.texts.count,
        let text = foreignText(table.texts[number], limit: limit)
      else {
        throw .refused(path, "its \(name) is not one line of 1 to \(limit) bytes of text")
      }
      return text
    }
    name = try text(0, \.name, "name", limit: 31)
    version = try text(1, \.version, "version", limit: 63)
    wireFormat = try text(2, \.wire_format, "wire_format", limit: 40)
    description = try text(3, \.description, "description", limit: 200)
    guard bytes.word(\MultiFDMethods.payload_bound) != 0 else {
      throw .refused(path, "its table has no payload_bound(), which is mandatory")
    }
    // All that Swift imports as non-null is now known to be so.
    methods = bytes.load(0, as: MultiFDMethods.self)

    guard isBackendName(name.utf8) else {
      throw .refused(path, "its name \(quoted(name)) is not of the form [a-z0-9][a-z0-9_-]{0,30}")
    }
    try Self.check(name: name, of: file)
    guard isWireFormat(wireFormat) else {
      throw .refused(path, "its wire format \(quoted(wireFormat)) is not of the form NAME/N")
    }
    capabilities = try Self.capabilities(methods.capabilities, path)
    qemuMethod = try Self.qemuMethod(methods.qemu_method, wireFormat, path)
    try Self.checkCallbacks(methods, capabilities, path)
    options = try BackendOption.table(of: methods, table.options, path: path)
    packetBound = try Self.packetBound(table.bounds, qemuMethod: qemuMethod, path)
  }

  /// A backend is called what its file is called, so that an operator finds the one by the other.
  static func check(name: String, of file: PluginFile) throws(PluginError) {
    guard name == file.name else {
      throw .refused(
        file.path, "calls itself \(quoted(name)), but its file name says \(quoted(file.name))",
        hint: "rename it to libmultifd-\(name).so")
    }
  }

  private static func checkHead(_ bytes: [UInt8], _ path: String) throws(PluginError) {
    let magic = bytes.load(0, as: UInt32.self)
    guard magic == MULTIFD_PLUGIN_MAGIC else {
      throw .refused(
        path, "its table starts with 0x\(hex(magic)), not 0x\(hex(MULTIFD_PLUGIN_MAGIC))")
    }
    let major = bytes.load(4, as: UInt16.self)
    let minor = bytes.load(6, as: UInt16.self)
    guard major == UInt16(MULTIFD_ABI_MAJOR) else {
      throw .refused(
        path,
        "was built for plug-in ABI \(major).\(minor), this host speaks "
          + "\(MULTIFD_ABI_MAJOR).\(MULTIFD_ABI_MINOR)",
        hint: "rebuild it with this host's multifd_plugin.h, or use a host of its version")
    }
    let size = bytes.load(8, as: UInt32.self)
    guard size >= UInt32(TableCopy.smallest) else {
      throw .refused(path, "its table has \(size) bytes, ABI 1.0 has \(TableCopy.smallest)")
    }
  }

  /// A direction has all of its callbacks, or none where the backend says so; and one or several
  /// packets at a time.
  private static func checkCallbacks(
    _ methods: MultiFDMethods, _ capabilities: BackendCapabilities, _ path: String
  ) throws(PluginError) {
    let flight = methods.max_in_flight
    guard flight <= MULTIFD_MAX_IN_FLIGHT else {
      throw .refused(
        path, "max_in_flight is \(flight), the most is \(MULTIFD_MAX_IN_FLIGHT)")
    }
    let send = [
      ("send_setup", methods.send_setup != nil), ("send_cleanup", methods.send_cleanup != nil),
      ("send_prepare", methods.send_prepare != nil), ("send_submit", methods.send_submit != nil),
      ("send_complete", methods.send_complete != nil),
    ]
    let receive = [
      ("recv_setup", methods.recv_setup != nil), ("recv_cleanup", methods.recv_cleanup != nil),
      ("recv", methods.recv != nil), ("recv_submit", methods.recv_submit != nil),
      ("recv_complete", methods.recv_complete != nil),
    ]
    for (direction, calls) in [(Backend.Direction.send, send), (.receive, receive)] {
      guard capabilities.have(direction) else {
        if let (name, _) = calls.first(where: { $0.1 }) {
          throw .refused(path, "has \(name)(), but says that it has not (\(capabilities))")
        }
        continue
      }
      // In this order: setup, cleanup, one at a time, submit, complete.
      let flies = calls[3].1 || calls[4].1
      for (name, isThere) in calls[0...2] where !isThere && !(flies && name == calls[2].0) {
        throw .refused(path, "its table has no \(name)(), which is mandatory")
      }
      guard calls[3].1 == calls[4].1 else {
        throw .refused(path, "has one of \(calls[3].0)() and \(calls[4].0)(): it takes both")
      }
      guard !flies || flight > 0 else {
        throw .refused(path, "has \(calls[3].0)(), but max_in_flight is 0")
      }
    }
    guard flight == 0 || methods.send_submit != nil || methods.recv_submit != nil else {
      throw .refused(path, "max_in_flight is \(flight), but nothing submits a packet")
    }
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
    guard !set.isSuperset(of: [.sendOnly, .receiveOnly]) else {
      throw .refused(path, "declares SEND_ONLY and RECV_ONLY: that leaves nothing")
    }
    guard !set.contains(.sendsIndependent) || set.contains(.stateful) && set.have(.send) else {
      throw .refused(path, "declares SENDS_INDEPENDENT, which is for senders that are STATEFUL")
    }
    return set
  }

  /// A format of QEMU's, and no other, is sent with the bits of QEMU's method: a stock QEMU goes by
  /// them.
  private static func qemuMethod(
    _ bits: UInt32, _ wireFormat: String, _ path: String
  ) throws(PluginError) -> UInt32? {
    let method = QEMUMethod(rawValue: bits)
    guard bits == MULTIFD_QEMU_METHOD_UNKNOWN || method != nil else {
      throw .refused(path, "its qemu_method 0x\(hex(bits)) is none of QEMU's methods")
    }
    let wanted = QEMUMethod.bits(of: wireFormat)
    guard bits == wanted else {
      throw .refused(
        path,
        "its qemu_method is \(method?.name ?? "unknown"), but its wire format \(quoted(wireFormat)) "
          + "is \(wanted == MULTIFD_QEMU_METHOD_UNKNOWN ? "not that method's" : "QEMU's")",
        hint: wanted == MULTIFD_QEMU_METHOD_UNKNOWN
          ? "a format of your own has MULTIFD_QEMU_METHOD_UNKNOWN" : nil)
    }
    return method?.rawValue
  }

  /// Sense in payload_bound: nothing for no pages, room for pages that cannot be compressed, more
  /// for more pages, and for QEMU's formats what a stock QEMU can receive.
  private static func packetBound(
    _ bounds: [UInt64], qemuMethod: UInt32?, _ path: String
  ) throws(PluginError) -> UInt64 {
    guard bounds.count == TableCopy.boundCounts.count else {
      throw .refused(path, "its payload_bound() gave no answer")
    }
    let (none, one, packet) = (bounds[0], bounds[1], bounds[2])
    guard none == 0 else {
      throw .refused(path, "payload_bound(4096, 0) is \(none), not 0")
    }
    // Pages of 4 KiB may be none of its business.
    if one == 0, packet == 0, qemuMethod == nil { return 0 }
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
    return packet
  }
}

/// Text of a backend: UTF-8, 1 to `limit` bytes, without control characters.
func foreignText(_ bytes: [UInt8]?, limit: Int, mayBeEmpty: Bool = false) -> String? {
  guard let bytes, bytes.count <= limit, mayBeEmpty || !bytes.isEmpty,
    let text = String(validating: bytes, as: UTF8.self),
    !text.unicodeScalars.contains(where: isControl)
  else { return nil }
  return text
}

func hex(_ value: UInt32) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}
