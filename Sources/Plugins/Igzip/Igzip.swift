// The backend `igzip`: QEMU's zlib by ISA-L. The wire format is that of the backend `zlib`, whose
// README has it (SPECIFICATION section 4.2).
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
      help: ("effort: 0 is the fastest, 3 the smallest" as StaticString).cString,
      default_value: ("1" as StaticString).cString,
      choices: nil,
      minimum: 0,
      maximum: 3,
      type: MULTIFD_OPTION_INT,
      reserved: 0))
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      // Not DETERMINISTIC: ISA-L chooses its code, and with it its matches, by the processor.
      capabilities: MULTIFD_CAP_STATEFUL | MULTIFD_CAP_STABLE_INPUT | MULTIFD_CAP_SENDS_INDEPENDENT,
      name: ("igzip" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("zlib/1" as StaticString).cString,
      description: ("QEMU's zlib by ISA-L, several times as fast" as StaticString).cString,
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

/// Room for the worst that a deflate encoder does to data it cannot compress. It is the format's
/// bound and not ISA-L's, for a peer may be zlib: see the backend `zlib`, which has the same.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard Geometry.supports(pageSize: pageSize), pageCount > 0 else {
    return 0
  }
  let bytes = UInt64(pageSize) * UInt64(pageCount)
  return bytes + bytes / 8 + bytes / 64 + 16 * UInt64(pageCount) + 64
}
