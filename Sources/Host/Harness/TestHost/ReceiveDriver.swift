import CHarness
import Glibc
import PluginAPI

/// The receive side of one channel, as SendDriver.
///
/// @unchecked Sendable: used by one thread at a time, like the channel that it is.
final class ReceiveDriver: @unchecked Sendable {
  let host: TestHost
  let shape: Shape
  let library: Library
  let options: OptionValues
  /// What recv_setup returned.
  private(set) var setup = CallStatus.ok
  let params: UnsafeMutablePointer<MultiFDRecvParams>
  private let context: Context
  private let paramsMemory: GuardedMemory
  private let normal: PageLists
  private let zero: PageLists
  private var isOpen = true
  private var packet: UInt64 = 0
  /// The packets that it was given; empty unless it `remembers` them.
  private(set) var past: [Past] = []
  var remembers = false

  /// One packet that it was given.
  struct Past {
    let payload: [UInt8]
    let announced: Int?
    let offsets: [UInt64]
    let reference: Block?
  }

  init(
    _ context: Context, _ shape: Shape, options: [String: String]? = nil,
    failingAllocation: Int? = nil, sets setUp: Bool = true, library other: Library? = nil
  ) throws(Stop) {
    self.context = context
    self.shape = shape
    if let other { library = other } else { library = try context.library }
    self.options = OptionValues(library, options ?? (other == nil ? context.order.options : [:]))
    host = TestHost(
      context, memory: shape.memory, extra: shape.extra, filling: shape.filling)
    host.memory.failingAllocation = failingAllocation
    normal = PageLists(capacity: shape.pageCount)
    zero = PageLists(capacity: shape.pageCount)
    let size = MemoryLayout<MultiFDRecvParams>.size
    paramsMemory = GuardedMemory(
      size + shape.extra, alignment: 8, kind: .params, behind: shape.behind)
    params = paramsMemory.base.bindMemory(to: MultiFDRecvParams.self, capacity: 1)
    // All zero, so compress_data and `reference` are NULL; a later host's part stays 0xa5.
    memset(params, 0, size)
    params.pointee.struct_size = UInt32(size + shape.extra)
    params.pointee.id = UInt32(shape.id)
    params.pointee.channels = UInt32(shape.channels)
    params.pointee.page_size = UInt32(shape.pageSize)
    params.pointee.page_count = UInt32(shape.pageCount)
    params.pointee.services = host.services
    params.pointee.channel = host.channel
    params.pointee.options = self.options.values
    // The host is this driver's, as params are, and calls nothing when the driver is gone.
    host.sizes = { [params] in
      CallTrace.Sizes(
        pages: Int(params.pointee.normal_num), payload: Int(params.pointee.next_packet_size))
    }
    if setUp { self.setUp() }
  }

  /// recv_setup, once.
  func setUp() { setup = call("recv_setup") { library.methods.recv_setup(params) } }

  deinit { close() }

  /// recv_cleanup, once.
  func close() {
    guard isOpen else { return }
    isOpen = false
    _ = host.call("recv_cleanup", UInt32(shape.id), packet) {
      library.methods.recv_cleanup(params)
      return MULTIFD_OK
    }
    host.memory.checkEmpty("recv_cleanup")
  }

  private func call(
    _ name: StaticString, payload: [UInt8]? = nil, announced: Int = 0, _ body: () -> Int32
  ) -> CallStatus {
    let before = params.pointee
    let status = host.call(
      name, UInt32(shape.id), packet, payload: payload, announced: announced, body)
    var expected = before
    // The one member that is the backend's to set.
    expected.compress_data = params.pointee.compress_data
    if memcmp(&expected, params, MemoryLayout<MultiFDRecvParams>.size) != 0 {
      context.fail("\(name)() changes members of params that are the host's", as: "bounds/params")
      params.pointee = expected
    }
    return CallStatus(status, of: name.description, host, context)
  }

  /// Decodes one packet into the pages of `block` at `offsets`. `announced` is what the header says
  /// of the payload's size, which is also what the connection delivers unless `payload` has less.
  func receive(
    _ payload: [UInt8], announced: Int? = nil, _ block: Block?, _ offsets: [UInt64],
    zero zeroes: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) -> CallStatus {
    packet = number ?? packet + 1
    if remembers {
      past.append(
        Past(payload: payload, announced: announced, offsets: offsets, reference: reference))
    }
    params.pointee.packet_num = packet
    params.pointee.host =
      offsets.isEmpty ? nil : block?.base.assumingMemoryBound(to: UInt8.self)
    params.pointee.normal = normal.show(offsets)
    params.pointee.zero = zero.show(zeroes)
    params.pointee.normal_num = UInt32(offsets.count)
    params.pointee.zero_num = UInt32(zeroes.count)
    params.pointee.flags = library.methodFlags | shape.flags
    params.pointee.next_packet_size = UInt32(announced ?? payload.count)
    params.pointee.reference =
      reference.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
    let status = call("recv", payload: payload, announced: announced ?? payload.count) {
      library.methods.recv(params)
    }
    normal.hide()
    zero.hide()
    block?.settle(offsets)
    if status.isOK, host.unread > 0, !host.hasFailedService {
      context.fail(
        "recv() returns OK and leaves \(host.unread) of \(announced ?? payload.count) bytes unread",
        as: "bounds/payload-read")
    }
    return status
  }
}
