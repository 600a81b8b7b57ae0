// The backend `nocomp`: pages as they are, straight out of and into guest memory
// (SPECIFICATION section 4.1).
// README.md in this folder is its manual. This file is the table, the others the two directions.
import PluginAPI

/// Returns the table of this backend, or nil for a host of another major version.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

/// Made at the first call, never freed, never changed: safe to read from every thread.
nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_ZERO_COPY,
      name: ("nocomp" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("none/1" as StaticString).cString,
      description: ("pages as they are, without a copy" as StaticString).cString,
      qemu_method: MULTIFD_QEMU_METHOD_NONE,
      max_in_flight: 0,
      options: nil,
      options_num: 0,
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

/// Exactly the pages. Below 2^62, so nothing overflows.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  Geometry.supports(pageSize: pageSize) ? UInt64(pageSize) * UInt64(pageCount) : 0
}
