import CHarness
import CLinux
import Glibc
import PluginAPI
import PluginLoader

/// A backend's library, open, with its raw table.
///
/// @unchecked Sendable: a table is constant, and a library is never closed.
final class Library: @unchecked Sendable {
  let path: String
  let handle: UnsafeMutableRawPointer
  /// The table as the backend returned it.
  let address: UnsafeRawPointer
  /// Our copy, as long as this host's: what the backend's does not have is zero.
  let methods: MultiFDMethods
  let options: [OptionEntry]
  let name: String
  let version: String
  let wireFormat: String
  /// What was printed while it was opened and asked for its table.
  let printed: String
  /// For a backend of one direction: another of its wire format, which has the other one. Set when it
  /// is opened for a test, before anything else is done with it.
  var partner: Library?

  typealias Entry = @convention(c) (UInt32) -> UnsafeRawPointer?

  private init(
    path: String, handle: UnsafeMutableRawPointer, address: UnsafeRawPointer, printed: String
  ) {
    self.path = path
    self.handle = handle
    self.address = address
    self.printed = printed
    methods = Self.copy(address)
    options = OptionEntry.table(address)
    name = foreignText(Self.word(address, 16)) ?? "?"
    version = foreignText(Self.word(address, 24)) ?? "?"
    wireFormat = foreignText(Self.word(address, 32)) ?? "?"
  }

  /// dlopen(3) as the host does it; the handle, or what dlerror(3) says.
  static func dlopen(_ path: String) -> Result<UnsafeMutableRawPointer, OpenError> {
    let full = path.contains("/") ? path : "./" + path
    guard let handle = Glibc.dlopen(full, RTLD_NOW | RTLD_LOCAL) else {
      return .failure(OpenError(text: String(cString: dlerror())))
    }
    return .success(handle)
  }

  struct OpenError: Error {
    let text: String
  }

  /// The entry point; nil when there is none.
  static func entry(_ handle: UnsafeMutableRawPointer) -> Entry? {
    // The symbol is the function that the header declares; the result is raw, since nothing about
    // it is known yet.
    dlsym(handle, MULTIFD_PLUGIN_ENTRY).map { unsafeBitCast($0, to: Entry.self) }
  }

  /// Opens it and checks as much of the table as is needed to call anything; what is wrong is
  /// reported under the rule it breaks.
  static func open(_ path: String, _ context: Context) throws(Stop) -> Library {
    let capture = OutputCapture()
    let result = dlopen(path)
    guard case .success(let handle) = result else {
      _ = capture.end()
      if case .failure(let error) = result { context.fail(error.text, as: "load/opens") }
      throw .failed
    }
    let entry = entry(handle)
    let address = entry?(UInt32(MULTIFD_ABI_MAJOR))
    let printed = capture.end()
    guard let address else {
      context.fail(
        entry == nil
          ? "no symbol \(MULTIFD_PLUGIN_ENTRY)"
          : "no table for a host of major \(MULTIFD_ABI_MAJOR)",
        as: "load/entry")
      throw .failed
    }
    try ABI.checkHead(address, context)
    return Library(path: path, handle: handle, address: address, printed: printed)
  }

  /// A word of the table, which has at least the size that ABI 1.0 gives it.
  static func word(_ address: UnsafeRawPointer, _ offset: Int) -> UInt {
    address.loadUnaligned(fromByteOffset: offset, as: UInt.self)
  }

  private static func copy(_ address: UnsafeRawPointer) -> MultiFDMethods {
    let size = MemoryLayout<MultiFDMethods>.size
    let has = Int(address.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    return withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
      memset(buffer.baseAddress!, 0, size)
      // `has` bytes are there by the backend's own word, checked to be enough for 1.0.
      memcpy(buffer.baseAddress!, address, min(has, size))
      return buffer.load(as: MultiFDMethods.self)
    }
  }

  func has(_ capability: UInt32) -> Bool { methods.capabilities & capability != 0 }

  /// QEMU's method bits in the flags of its packets.
  var methodFlags: UInt32 {
    methods.qemu_method == MULTIFD_QEMU_METHOD_UNKNOWN ? 0 : methods.qemu_method
  }

  /// Whether it has a direction.
  func has(_ direction: Backend.Direction) -> Bool {
    !has(direction == .send ? MULTIFD_CAP_RECV_ONLY : MULTIFD_CAP_SEND_ONLY)
  }

  /// Who does a direction for it: itself, or its partner.
  func side(_ direction: Backend.Direction) throws(Stop) -> Library {
    if has(direction) { return self }
    guard let partner else {
      throw .missed(
        "it \(direction == .send ? "decodes" : "encodes") only, and no other backend of "
          + "\(wireFormat) is found (--plugin-dir)")
    }
    return partner
  }

  /// How many packets of a channel it has at a time.
  func depth(_ direction: Backend.Direction) -> Int {
    let submits = direction == .send ? methods.send_submit != nil : methods.recv_submit != nil
    return submits ? max(1, min(Int(methods.max_in_flight), Int(MULTIFD_MAX_IN_FLIGHT))) : 1
  }

  var isStateful: Bool { has(MULTIFD_CAP_STATEFUL) }

  /// payload_bound(), 0 for a page size that is not supported.
  func bound(_ pageSize: Int, _ pageCount: Int) -> Int {
    pageCount == 0
      ? 0 : Int(clamping: methods.payload_bound(UInt32(pageSize), UInt32(pageCount)))
  }

  func supports(_ pageSize: Int, _ pageCount: Int) -> Bool {
    (1...Int(UInt32.max)).contains(bound(pageSize, pageCount))
  }

  /// The page size that most tests use: 4 KiB, or the smallest that the backend takes.
  var pageSize: Int {
    (12...30).lazy.map { 1 << $0 }.first { self.supports($0, 1) } ?? 4096
  }
}

/// Text of a backend: up to 4096 bytes before its NUL; nil for NULL or what is not UTF-8.
func foreignText(_ word: UInt) -> String? {
  guard let address = UnsafeRawPointer(bitPattern: word) else { return nil }
  let length = strnlen(address.assumingMemoryBound(to: CChar.self), 4096)
  // strnlen() has just read as many bytes.
  return String(validating: UnsafeRawBufferPointer(start: address, count: length), as: UTF8.self)
}

/// Takes stdout and stderr aside for a while.
struct OutputCapture {
  private let file = clinux_memfd_create("output")
  private let saved = [dup(1), dup(2)]

  init() {
    fflush(nil)
    dup2(file, 1)
    dup2(file, 2)
  }

  /// What was printed.
  func end() -> String {
    fflush(nil)
    dup2(saved[0], 1)
    dup2(saved[1], 2)
    saved.forEach { close($0) }
    lseek(file, 0, SEEK_SET)
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = read(file, &buffer, buffer.count)
    close(file)
    return clean(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self))
  }
}
