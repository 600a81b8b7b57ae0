// The C border: the callbacks and the table. `params` is the host's and valid during a call; calls with the
// same params never overlap, so `compress_data`, once setup has put a state there, is this call's alone.

/// The one exported symbol.
@c @implementation
public func multifd_plugin_entry(_ host_major: UInt32) -> UnsafePointer<MultiFDMethods>? {
  host_major == UInt32(MULTIFD_ABI_MAJOR) ? UnsafePointer(table) : nil
}

/// A byte that says what follows, and at worst the pages as they are.
@c func payloadBound(_ pageSize: UInt32, _ pageCount: UInt32) -> UInt64 {
  guard (4096...1 << 30).contains(pageSize), pageSize & (pageSize - 1) == 0, pageCount > 0 else {
    return 0
  }
  return 1 + UInt64(pageSize) * UInt64(pageCount)
}

extension Host {
  init(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
    self.init(services: params.pointee.services, channel: params.pointee.channel)
  }
  init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
    self.init(services: params.pointee.services, channel: params.pointee.channel)
  }
}

@c func sendSetup(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  let host = Host(params)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(
      State(host, pageSize: params.pointee.page_size, pageCount: params.pointee.page_count))
  }
}

@c func sendCleanup(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
  Host(params).remove(params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func sendPrepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  guard let data = params.pointee.compress_data else { return MULTIFD_ERROR_INTERNAL }
  data.assumingMemoryBound(to: State.self).pointee.send(&params.pointee)
  return MULTIFD_OK
}

@c func recvSetup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  let host = Host(params)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(
      State(host, pageSize: params.pointee.page_size, pageCount: params.pointee.page_count))
  }
}

@c func recvCleanup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
  Host(params).remove(params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func recvPacket(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  Host(params).run { () throws(Failure) in
    guard let data = params.pointee.compress_data else {
      throw Failure(status: MULTIFD_ERROR_INTERNAL, why: "recv() comes before recv_setup()")
    }
    try data.assumingMemoryBound(to: State.self).pointee.receive(params.pointee)
  }
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
      capabilities: MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC,
      name: ("new-backend" as StaticString).cString,
      version: ("0.1.0" as StaticString).cString,
      // Another number whenever old payloads no longer decode.
      wire_format: ("x-new-backend/1" as StaticString).cString,
      description: ("a backend of my own" as StaticString).cString,
      qemu_method: MULTIFD_QEMU_METHOD_UNKNOWN,
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
      recv: recvPacket,
      // One packet at a time, and nothing to train.
      send_submit: nil, send_complete: nil, recv_submit: nil, recv_complete: nil,
      train: nil))
  return table
}()
