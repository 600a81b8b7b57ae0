// The backend `zlib`: one endless deflate stream per channel, as stock QEMU sends and accepts it
// (SPECIFICATION section 4.2).
// README.md in this folder is its manual. This file is the table, the others the two directions.
import PluginAPI

/// Returns the table of this backend, or nil for a host of another major version.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

/// The options, by their place in the table and in `params.options`.
enum Option {
  static let level = 0
  static let count = 1
}

/// Made at the first call, never freed, never changed: safe to read from every thread.
nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
  let options = UnsafeMutablePointer<MultiFDOption>.allocate(capacity: Option.count)
  (options + Option.level).initialize(
    to: MultiFDOption(
      name: ("level" as StaticString).cString,
      help: ("effort: 0 stores, 1 is the fastest, 9 the smallest" as StaticString).cString,
      default_value: ("1" as StaticString).cString,
      choices: nil,
      minimum: 0,
      maximum: 9,
      type: MULTIFD_OPTION_INT,
      reserved: 0))
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      capabilities: MULTIFD_CAP_STATEFUL | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_STABLE_INPUT
        | MULTIFD_CAP_SENDS_INDEPENDENT,
      name: ("zlib" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("zlib/1" as StaticString).cString,
      description: ("deflate, one endless stream per channel, as QEMU's zlib" as StaticString)
        .cString,
      qemu_method: MULTIFD_QEMU_METHOD_ZLIB,
      max_in_flight: 0,
      options: UnsafePointer(options),
      options_num: UInt32(Option.count),
      option_size: UInt32(MemoryLayout<MultiFDOption>.size),
      payload_bound: payloadBound,
      send_setup: sendSetup,
      send_cleanup: sendCleanup,
      send_prepare: sendPrepare,
      recv_setup: recvSetup,
      recv_cleanup: recvCleanup,
      recv: recv,
      // One packet at a time, and nothing to train.
      send_submit: nil, send_complete: nil, recv_submit: nil, recv_complete: nil,
      train: nil))
  return table
}()

/// Room for the worst that a deflate encoder does to data it cannot compress.
///
/// n/8: every byte a 9-bit literal of the fixed code, which an encoder that does not look back
/// emits (zlib itself stores such data, 5 bytes in 16 KiB). n/64: the 5 bytes of each stored block,
/// were they as short as 320 bytes. 16 a page: a peer may flush after each page, 5 bytes each. 64:
/// the header (2), the flush at the end (at most 6), and what zlib's own bound adds. For QEMU's
/// packets (128 pages of 4 KiB) this is 600,128, well below MULTIFD_QEMU_MAX_PAYLOAD. Below 2^63.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard Geometry.supports(pageSize: pageSize), pageCount > 0 else {
    return 0
  }
  let bytes = UInt64(pageSize) * UInt64(pageCount)
  return bytes + bytes / 8 + bytes / 64 + 16 * UInt64(pageCount) + 64
}
