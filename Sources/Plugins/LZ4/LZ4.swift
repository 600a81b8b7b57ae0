// The backend `lz4`: blocks of LZ4, or the pages as they are where that is no longer.
// README.md in this folder is its manual. This file is the table, the others the two directions.
import PluginAPI

/// Returns the table of this backend, or nil for a host of another major version.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

/// The options, by their place in the table and in `params.options`.
enum Option {
  static let acceleration = 0
  static let level = 1
  static let count = 2
}

/// Made at the first call, never freed, never changed: safe to read from every thread.
nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
  let options = UnsafeMutablePointer<MultiFDOption>.allocate(capacity: Option.count)
  (options + Option.acceleration).initialize(
    to: MultiFDOption(
      name: ("acceleration" as StaticString).cString,
      help: ("level 0 only: larger is faster and compresses less" as StaticString).cString,
      default_value: ("1" as StaticString).cString,
      choices: nil, minimum: 1, maximum: 65537, type: MULTIFD_OPTION_INT, reserved: 0))
  (options + Option.level).initialize(
    to: MultiFDOption(
      name: ("level" as StaticString).cString,
      help: ("0 is fast; 3 to 12 search harder (HC), 1 and 2 are 0" as StaticString).cString,
      default_value: ("0" as StaticString).cString,
      choices: nil, minimum: 0, maximum: 12, type: MULTIFD_OPTION_INT, reserved: 0))
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
      name: ("lz4" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("lz4/1" as StaticString).cString,
      description: ("LZ4 blocks, each packet by itself" as StaticString)
        .cString,
      qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
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

/// The pages and the table of segments: a segment that does not get shorter is sent as it is, so
/// for QEMU's packets (one segment) this is 4 bytes more than raw. Below 2^63.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard Geometry.supports(pageSize: pageSize), pageCount > 0 else {
    return 0
  }
  let bytes = UInt64(pageSize) * UInt64(pageCount)
  return bytes + UInt64(Format.entrySize) * UInt64(Format.segments(Int(bytes)))
}
