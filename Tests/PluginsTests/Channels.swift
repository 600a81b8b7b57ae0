import Foundation
import PluginAPI
import Testing

/// How a channel's packets are built.
struct Packets: Sendable, CustomStringConvertible {
  var pageSize = 4096
  var pageCount = 128
  var description: String { "\(pageCount) x \(pageSize)" }
}

/// The send side of one channel. Cleans up with its owner.
final class SendChannel {
  let backend: Backend
  let host = TestHost()
  private let options: OptionValues
  private let packets: Packets
  private let iov: GuardedMemory
  let params: UnsafeMutablePointer<MultiFDSendParams>
  /// What send_setup returned.
  private(set) var setupStatus: Int32 = MULTIFD_OK

  init(
    _ backend: Backend, _ options: [String: String] = [:], _ packets: Packets = Packets(),
    failingAllocation: Int? = nil
  ) {
    self.backend = backend
    self.options = OptionValues(backend, options)
    self.packets = packets
    host.failingAllocation = failingAllocation
    let iovsMax = packets.pageCount + 16
    // Exactly iovs_max entries in front of the guard page.
    iov = GuardedMemory(iovsMax * MemoryLayout<MultiFDIOVec>.stride, alignment: 16)
    params = .allocate(capacity: 1)
    params.initialize(
      to: MultiFDSendParams(
        struct_size: UInt32(MemoryLayout<MultiFDSendParams>.size), id: 0, channels: 1,
        page_size: UInt32(packets.pageSize), page_count: UInt32(packets.pageCount),
        iovs_max: UInt32(iovsMax), services: UnsafePointer(host.services), channel: host.channel,
        options: UnsafePointer(self.options.values), compress_data: nil, packet_num: 0, host: nil,
        normal: nil, zero: nil, normal_num: 0, zero_num: 0, flags: 0, next_packet_size: 0,
        iov: iov.base.assumingMemoryBound(to: MultiFDIOVec.self), iovs_num: 0, reserved: 0,
        reference: nil))
    setupStatus = backend.methods.pointee.send_setup!(params)
  }

  deinit {
    backend.methods.pointee.send_cleanup!(params)
    demand(host.liveAllocations == 0, "\(backend.name) leaks after send_cleanup")
    params.deallocate()
  }

  /// What a call of send_prepare left.
  struct Prepared {
    let status: Int32
    /// The payload, gathered from the iov entries as the kernel would.
    let payload: [UInt8]
    let iovs: [MultiFDIOVec]
  }

  /// Prepares one packet and checks what the ABI promises about its iov.
  func prepare(_ ram: GuardedMemory, _ offsets: [UInt64]) -> Prepared {
    host.begin([], announced: 0)
    params.pointee.packet_num += 1
    params.pointee.iovs_num = 0
    params.pointee.next_packet_size = 0xdead
    params.pointee.normal_num = UInt32(offsets.count)
    params.pointee.host =
      offsets.isEmpty ? nil : UnsafePointer(ram.base.assumingMemoryBound(to: UInt8.self))
    let status = offsets.withUnsafeBufferPointer { normal in
      params.pointee.normal = offsets.isEmpty ? nil : normal.baseAddress
      return backend.methods.pointee.send_prepare!(params)
    }
    guard status == MULTIFD_OK else { return Prepared(status: status, payload: [], iovs: []) }
    demand(params.pointee.iovs_num <= params.pointee.iovs_max, "more iov entries than there are")
    let iovs = Array(
      UnsafeBufferPointer(start: params.pointee.iov, count: Int(params.pointee.iovs_num)))
    var payload: [UInt8] = []
    for piece in iovs {
      payload.append(
        contentsOf: UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
    demand(payload.count == Int(params.pointee.next_packet_size), "size is not iov's sum")
    demand(
      payload.count <= (offsets.isEmpty ? 0 : backend.bound(packets.pageSize, offsets.count)),
      "\(backend.name): \(offsets.count) pages became \(payload.count) bytes, beyond the bound")
    return Prepared(status: status, payload: payload, iovs: iovs)
  }
}

/// The receive side of one channel. Cleans up with its owner.
final class RecvChannel {
  let backend: Backend
  let host = TestHost()
  private let options: OptionValues
  let params: UnsafeMutablePointer<MultiFDRecvParams>
  /// What recv_setup returned.
  private(set) var setupStatus: Int32 = MULTIFD_OK

  init(
    _ backend: Backend, _ options: [String: String] = [:], _ packets: Packets = Packets(),
    failingAllocation: Int? = nil
  ) {
    self.backend = backend
    self.options = OptionValues(backend, options)
    host.failingAllocation = failingAllocation
    params = .allocate(capacity: 1)
    params.initialize(
      to: MultiFDRecvParams(
        struct_size: UInt32(MemoryLayout<MultiFDRecvParams>.size), id: 0, channels: 1,
        page_size: UInt32(packets.pageSize), page_count: UInt32(packets.pageCount), reserved: 0,
        services: UnsafePointer(host.services), channel: host.channel,
        options: UnsafePointer(self.options.values), compress_data: nil, packet_num: 0, host: nil,
        normal: nil, zero: nil, normal_num: 0, zero_num: 0, flags: 0, next_packet_size: 0,
        reference: nil))
    setupStatus = backend.methods.pointee.recv_setup!(params)
  }

  deinit {
    backend.methods.pointee.recv_cleanup!(params)
    demand(host.liveAllocations == 0, "\(backend.name) leaks after recv_cleanup")
    params.deallocate()
  }

  /// Decodes one packet. `announced` is what its header says about the payload's size, which is
  /// also what the connection delivers unless the payload has more or less.
  func receive(
    _ payload: [UInt8], announced: Int? = nil, _ ram: GuardedMemory, _ offsets: [UInt64]
  ) -> Int32 {
    let announced = announced ?? payload.count
    host.begin(payload, announced: announced)
    params.pointee.packet_num += 1
    params.pointee.next_packet_size = UInt32(announced)
    params.pointee.normal_num = UInt32(offsets.count)
    params.pointee.host = offsets.isEmpty ? nil : ram.base.assumingMemoryBound(to: UInt8.self)
    let status = offsets.withUnsafeBufferPointer { normal in
      params.pointee.normal = offsets.isEmpty ? nil : normal.baseAddress
      return backend.methods.pointee.recv!(params)
    }
    switch status {
    case MULTIFD_OK:
      demand(host.unread == 0, "\(backend.name) left \(host.unread) bytes of the payload")
    case MULTIFD_ERROR_CHANNEL:
      demand(host.errorCount == 0, "a text for an error that the host knows better")
    default:
      demand(host.errorText?.isEmpty == false, "\(backend.name): \(status) without a reason")
      demand(host.errorText?.contains("\n") == false, "a reason of two lines")
    }
    return status
  }
}

/// A promise of the ABI that every call is held to. Broken, it fails the test that is running.
func demand(_ promise: Bool, _ broken: @autoclosure () -> String) {
  if !promise { Issue.record(Comment(rawValue: broken())) }
}
