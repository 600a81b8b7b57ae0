// The C border: the vtable's callbacks around a backend's Sender and Receiver. Shared by all
// built-in backends, see Host.swift. What a backend provides:
//
//     struct Sender: ~Copyable {            // a channel's state; all it owns goes with it
//       init(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure)
//       mutating func prepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) throws(Failure)
//     }
//     struct Receiver: ~Copyable {
//       init(_ params: UnsafeMutablePointer<MultiFDRecvParams>) throws(Failure)
//       mutating func receive(_ params: borrowing MultiFDRecvParams) throws(Failure)
//     }
//
// `params` is the host's and valid during a call; calls with the same params never overlap. So
// `compress_data`, once setup has put a state there, is ours alone during a call.
import PluginAPI

@c func sendSetup(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  let host = Host(params)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(Sender(params))
  }
}

@c func sendCleanup(_ params: UnsafeMutablePointer<MultiFDSendParams>) {
  Host(params).remove(Sender.self, params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func sendPrepare(_ params: UnsafeMutablePointer<MultiFDSendParams>) -> Int32 {
  Host(params).run { () throws(Failure) in
    guard let data = params.pointee.compress_data else { throw .internal("not set up") }
    params.pointee.iovs_num = 0
    params.pointee.next_packet_size = 0
    try data.assumingMemoryBound(to: Sender.self).pointee.prepare(params)
  }
}

@c func recvSetup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  let host = Host(params)
  return host.run { () throws(Failure) in
    params.pointee.compress_data = try host.install(Receiver(params))
  }
}

@c func recvCleanup(_ params: UnsafeMutablePointer<MultiFDRecvParams>) {
  Host(params).remove(Receiver.self, params.pointee.compress_data)
  params.pointee.compress_data = nil
}

@c func recv(_ params: UnsafeMutablePointer<MultiFDRecvParams>) -> Int32 {
  Host(params).run { () throws(Failure) in
    guard let data = params.pointee.compress_data else { throw .internal("not set up") }
    try data.assumingMemoryBound(to: Receiver.self).pointee.receive(params.pointee)
  }
}

extension UnsafeMutablePointer<MultiFDSendParams> {
  /// Makes `size` bytes at `base` the packet's payload. They must stay as they are until the next
  /// prepare or cleanup. The host's array has room: iovs_max is 17 at least.
  func setPayload(_ base: UnsafeMutablePointer<UInt8>, _ size: Int) {
    guard size > 0 else { return }
    pointee.iov[0] = MultiFDIOVec(iov_base: base, iov_len: size)
    pointee.iovs_num = 1
    // Fits: Geometry has checked that the bound has 32 bits.
    pointee.next_packet_size = UInt32(truncatingIfNeeded: size)
  }
}

extension Geometry {
  /// The pages of a channel that is being set up.
  init(_ params: borrowing MultiFDSendParams) throws(Failure) {
    let bound = payloadBound(params.page_size, params.page_count)
    try self.init(pageSize: params.page_size, pageCount: params.page_count, bound: bound)
  }

  /// The pages of a channel that is being set up.
  init(_ params: borrowing MultiFDRecvParams) throws(Failure) {
    let bound = payloadBound(params.page_size, params.page_count)
    try self.init(pageSize: params.page_size, pageCount: params.page_count, bound: bound)
  }
}
