// rle-swift: run-length coding in Embedded Swift. The wire format is ../RLE.md, the contract is
// multifd_plugin.h. This file is the table; Channels.swift does the work, Codec.swift is the codec.

/// The one exported symbol.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard (4096...1 << 30).contains(pageSize), pageSize & (pageSize - 1) == 0, pageCount > 0 else {
    return 0
  }
  return 1 + UInt64(pageSize) * UInt64(pageCount)
}

/// Made at the first call, never freed, never changed: safe to read from every thread.
nonisolated(unsafe) private let table: UnsafeMutablePointer<MultiFDMethods> = {
  let options = UnsafeMutablePointer<MultiFDOption>.allocate(capacity: 1)
  options.initialize(
    to: MultiFDOption(
      name: ("min-run" as StaticString).cString,
      help: ("shortest run of equal bytes that becomes a token" as StaticString).cString,
      default_value: ("4" as StaticString).cString,
      choices: nil,
      minimum: Int64(Token.shortestRun),
      maximum: Int64(Token.longestRun),
      type: MULTIFD_OPTION_INT,
      reserved: 0))
  let table = UnsafeMutablePointer<MultiFDMethods>.allocate(capacity: 1)
  table.initialize(
    to: MultiFDMethods(
      magic: MULTIFD_PLUGIN_MAGIC,
      abi_major: UInt16(MULTIFD_ABI_MAJOR),
      abi_minor: UInt16(MULTIFD_ABI_MINOR),
      struct_size: UInt32(MemoryLayout<MultiFDMethods>.size),
      capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
      name: ("rle-swift" as StaticString).cString,
      version: ("1.0.0" as StaticString).cString,
      wire_format: ("rle/1" as StaticString).cString,
      description: ("run-length coding, an example in Swift" as StaticString).cString,
      qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
      max_in_flight: 0,
      options: UnsafePointer(options),
      options_num: 1,
      option_size: UInt32(MemoryLayout<MultiFDOption>.size),
      payload_bound: payloadBound,
      send_setup: sendSetup,
      send_cleanup: sendCleanup,
      send_prepare: sendPrepare,
      recv_setup: recvSetup,
      recv_cleanup: recvCleanup,
      recv: recvPacket,
      // One packet at a time, and nothing to train.
      send_submit: nil, send_complete: nil, recv_submit: nil, recv_complete: nil,
      train: nil))
  return table
}()
