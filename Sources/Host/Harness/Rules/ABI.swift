import Glibc
import PluginAPI
import PluginLoader

/// `abi`: the table is what the header says.
enum ABI {
  static let bodies: [String: Rules.Body] = [
    // Opening the library has looked at these, and reported.
    "abi/magic": { context throws(Stop) in _ = try context.library },
    "abi/major": { context throws(Stop) in _ = try context.library },
    "abi/struct-size": { context throws(Stop) in _ = try context.library },
    "abi/callbacks": { context throws(Stop) in _ = try context.library },
    "abi/name": name, "abi/texts": texts, "abi/capabilities": capabilities,
    "abi/qemu-method": qemuMethod, "abi/reserved": reserved, "abi/option-table": OptionTable.check,
    "abi/bound": bound, "abi/qemu-bound": qemuBound, "abi/constant": constant,
    "abi/later-host": laterHost, "abi/any-place": anyPlace, "abi/host-accepts": HostAccepts.check,
  ]

  /// sizeof(MultiFDMethods) of each minor version that this harness knows.
  static let sizes: [UInt16: UInt32] = [0: 128, 1: 168]

  /// What has to be right before anything can be called. Reports and throws.
  static func checkHead(_ table: UnsafeRawPointer, _ context: Context) throws(Stop) {
    func number<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
      table.loadUnaligned(fromByteOffset: at, as: T.self)
    }
    let magic = number(0, UInt32.self)
    try context.require(
      magic == MULTIFD_PLUGIN_MAGIC, as: "abi/magic",
      "the table starts with 0x\(String(magic, radix: 16))")
    let major = number(4, UInt16.self), minor = number(6, UInt16.self)
    try context.require(
      major == UInt16(MULTIFD_ABI_MAJOR), as: "abi/major",
      "the table is of ABI \(major).\(minor), this harness speaks "
        + "\(MULTIFD_ABI_MAJOR).\(MULTIFD_ABI_MINOR)")
    let size = number(8, UInt32.self)
    let wanted = sizes[minor]
    try context.require(
      size == wanted ?? size && size >= sizes[0]!, as: "abi/struct-size",
      "struct_size is \(size), a table of ABI \(major).\(minor) has "
        + (wanted.map { "\($0)" } ?? "at least \(sizes[0]!)"))
    if let wrong = callbacks(table, size: size) {
      try context.require(false, as: "abi/callbacks", wrong)
    }
  }

  /// What is wrong with a table's callbacks: each direction has all of its own, or says that it has
  /// none, and submits packets or has one at a time.
  private static func callbacks(_ table: UnsafeRawPointer, size: UInt32) -> String? {
    func isThere(_ offset: Int) -> Bool {
      offset + 8 <= Int(size) && Library.word(table, offset) != 0
    }
    guard isThere(72) else { return "there is no payload_bound()" }
    let capabilities = table.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
    let flight = table.loadUnaligned(fromByteOffset: 52, as: UInt32.self)
    if flight > MULTIFD_MAX_IN_FLIGHT {
      return "max_in_flight is \(flight), the most is \(MULTIFD_MAX_IN_FLIGHT)"
    }
    var flies = false
    for (prefix, packet, first, submit, without) in [
      ("send", "send_prepare", 80, 128, MULTIFD_CAP_RECV_ONLY),
      ("recv", "recv", 104, 144, MULTIFD_CAP_SEND_ONLY),
    ] {
      let names = ["\(prefix)_setup", "\(prefix)_cleanup", packet]
      let late = ["\(prefix)_submit", "\(prefix)_complete"]
      let all = names.indices.map { (names[$0], first + 8 * $0) }
      let both = late.indices.map { (late[$0], submit + 8 * $0) }
      if capabilities & without != 0 {
        if let (name, _) = (all + both).first(where: { isThere($0.1) }) {
          return "there is \(name)() in a direction that it says it does not have"
        }
        continue
      }
      let submits = isThere(both[0].1)
      if submits != isThere(both[1].1) {
        return "there is one of \(both[0].0)() and \(both[1].0)()"
      }
      if submits, flight == 0 { return "there is \(both[0].0)(), but max_in_flight is 0" }
      flies = flies || submits
      for (name, offset) in all where !isThere(offset) && !(submits && name == packet) {
        return "there is no \(name)()"
      }
    }
    return flight > 0 && !flies ? "max_in_flight is \(flight), but nothing submits a packet" : nil
  }

  private static func isLine(_ text: String?, limit: Int) -> Bool {
    guard let text, (1...limit).contains(text.utf8.count) else { return false }
    return !text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f }
  }

  @Sendable private static func name(_ context: Context) throws(Stop) {
    let library = try context.library
    let name = library.name
    let form = /[a-z0-9][a-z0-9_-]{0,30}/
    context.check(
      name.wholeMatch(of: form) != nil, "the name '\(clean(name))' is not [a-z0-9][a-z0-9_-]{0,30}")
    let file = library.path.split(separator: "/").last.map(String.init) ?? library.path
    context.check(
      file == "libmultifd-\(name).so",
      "the file of '\(clean(name))' is called \(file), not libmultifd-\(clean(name)).so")
  }

  @Sendable private static func texts(_ context: Context) throws(Stop) {
    let library = try context.library
    context.check(isLine(library.version, limit: 63), "version is not a line of 1 to 63 bytes")
    let format = library.wireFormat
    context.check(
      format.wholeMatch(of: /[a-z0-9][a-z0-9_-]{0,30}\/[1-9][0-9]{0,3}/) != nil,
      "the wire format '\(clean(format))' is not NAME/N")
    let text = foreignText(Library.word(library.address, 40))
    context.check(isLine(text, limit: 200), "description is not a line of 1 to 200 bytes")
    context.check(text?.hasSuffix(".") != true, "description ends with a full stop")
  }

  @Sendable private static func capabilities(_ context: Context) throws(Stop) {
    let library = try context.library
    let known =
      MULTIFD_CAP_STATEFUL | MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC
      | MULTIFD_CAP_STABLE_INPUT | MULTIFD_CAP_REFERENCE | MULTIFD_CAP_ZERO_COPY
      | MULTIFD_CAP_SEND_ONLY | MULTIFD_CAP_RECV_ONLY | MULTIFD_CAP_SENDS_INDEPENDENT
    let unknown = library.methods.capabilities & ~known
    context.check(unknown == 0, "sets the unknown capability 0x\(String(unknown, radix: 16))")
    context.check(
      library.has(MULTIFD_CAP_STATEFUL) != library.has(MULTIFD_CAP_INDEPENDENT),
      "does not set exactly one of STATEFUL and INDEPENDENT")
    context.check(
      library.has(.send) || library.has(.receive), "sets both SEND_ONLY and RECV_ONLY")
    context.check(
      !library.has(MULTIFD_CAP_SENDS_INDEPENDENT) || library.isStateful && library.has(.send),
      "sets SENDS_INDEPENDENT, which is for senders that are STATEFUL")
  }

  @Sendable private static func qemuMethod(_ context: Context) throws(Stop) {
    let library = try context.library
    let method = library.methods.qemu_method
    guard method == MULTIFD_QEMU_METHOD_UNKNOWN || QEMUMethod(rawValue: method) != nil else {
      return context.fail("qemu_method is 0x\(String(method, radix: 16)), none of QEMU's")
    }
    let wanted = QEMUMethod.bits(of: library.wireFormat)
    context.check(
      method == wanted,
      "qemu_method is 0x\(String(method, radix: 16)), with the wire format "
        + "'\(clean(library.wireFormat))' it is "
        + (wanted == MULTIFD_QEMU_METHOD_UNKNOWN
          ? "MULTIFD_QEMU_METHOD_UNKNOWN" : "0x\(String(wanted, radix: 16))"))
  }

  @Sendable private static func reserved(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.methods.abi_minor <= UInt16(MULTIFD_ABI_MINOR) else {
      throw .skipped("a later minor version may use them")
    }
    for option in library.options where option.reserved != 0 {
      context.fail("option \(option.name ?? "?"): reserved is \(option.reserved)")
    }
  }

  @Sendable private static func bound(_ context: Context) throws(Stop) {
    let library = try context.library
    func ask(_ size: Int, _ count: Int) -> UInt64 {
      library.methods.payload_bound(UInt32(size), UInt32(count))
    }
    var supported = false
    for log in 12...30 {
      let size = 1 << log
      if ask(size, 1) == 0 {
        context.check(
          ask(size, 128) == 0, "payload_bound(\(size), 1) is 0, payload_bound(\(size), 128) is not")
        continue
      }
      supported = true
      context.check(ask(size, 0) == 0, "payload_bound(\(size), 0) is \(ask(size, 0)), not 0")
      var last: UInt64 = 0
      for count in [1, 2, 3, 16, 127, 128, 129, 1000] {
        let bound = ask(size, count)
        context.check(
          bound >= UInt64(size) * UInt64(count),
          "payload_bound(\(size), \(count)) is \(bound): pages that do not compress need more")
        context.check(
          bound >= last, "payload_bound(\(size), \(count)) is \(bound), less than for fewer pages")
        context.check(
          ask(size, count) == bound, "payload_bound(\(size), \(count)) is not always the same")
        last = bound
      }
    }
    context.check(supported, "payload_bound() supports no page size at all")
    if library.supports(4096, 128) {
      let bound = ask(4096, 128)
      context.check(
        bound <= UInt64(UInt32.max), "payload_bound(4096, 128) is \(bound): more than 32 bits")
    }
  }

  @Sendable private static func qemuBound(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.methods.qemu_method != MULTIFD_QEMU_METHOD_UNKNOWN else {
      throw .skipped("not a format of QEMU's")
    }
    let bound = library.methods.payload_bound(4096, 128)
    context.check(
      (1...UInt64(MULTIFD_QEMU_MAX_PAYLOAD)).contains(bound),
      "payload_bound(4096, 128) is \(bound), a stock QEMU receives 1 to \(MULTIFD_QEMU_MAX_PAYLOAD)"
    )
  }

  /// The table's bytes, and everything it points to.
  private static func snapshot(_ library: Library) -> [UInt8] {
    let size = Int(library.address.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    var bytes = Array(UnsafeRawBufferPointer(start: library.address, count: size))
    for offset in [16, 24, 32, 40] {
      bytes += (foreignText(Library.word(library.address, offset)) ?? "?").utf8
    }
    for option in OptionEntry.table(library.address) { bytes += "\(option)".utf8 }
    return bytes
  }

  @Sendable private static func constant(_ context: Context) throws(Stop) {
    let library = try context.library
    let before = snapshot(library)
    let lane = try Lane(context, Shape(library, pages: 16), content: Lane.mix)
    for _ in 0..<4 { try lane.pass(Array(lane.source.offsets.prefix(8))) }
    context.check(snapshot(library) == before, "the table changes while channels are open")
    lane.close()
    context.check(snapshot(library) == before, "the table has changed when channels are closed")
  }

  @Sendable private static func laterHost(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.methods.abi_minor <= UInt16(MULTIFD_ABI_MINOR) else {
      throw .skipped("built for a later minor: what would be appended has a meaning for it")
    }
    var shape = Shape(library, pages: 16)
    shape.extra = 64
    let lane = try Lane(context, shape, content: Lane.mix)
    for count in [1, 16, 7] { try lane.pass(Array(lane.source.offsets.prefix(count))) }
  }

  /// params wherever their alignment of 8 bytes allows.
  @Sendable private static func anyPlace(_ context: Context) throws(Stop) {
    for behind in stride(from: 8, to: 64, by: 8) {
      var shape = Shape(try context.library, pages: 8)
      shape.behind = behind
      let lane = try Lane(context, shape, label: "\(behind)", content: Lane.mix)
      // Wrong pages are none of the place's: it crashes, or it does not.
      lane.honestyRule = "roundtrip/basic"
      for count in [8, 1, 3] { try lane.pass(Array(lane.source.offsets.prefix(count))) }
      lane.close()
    }
  }
}
