import CHarness
import Glibc
import PluginAPI
import PluginLoader

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
  private let slots: [ReceiveRoom]
  /// Which of them packets are in, the oldest first.
  private var flight: Flight
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
    if let other { library = other } else { library = try context.library.side(.receive) }
    self.options = OptionValues(library, options ?? context.options(of: library))
    host = TestHost(
      context, memory: shape.memory, extra: shape.extra, filling: shape.filling)
    host.memory.failingAllocation = failingAllocation
    let depth = library.depth(.receive)
    flight = Flight(depth: depth)
    slots = (0..<depth).map { ReceiveRoom($0, shape) }
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
    host.sizes = { [slots] in
      // Of a backend with packets in flight: the largest of them is good enough for a picture.
      let packets = slots.map(\.packet.pointee)
      return CallTrace.Sizes(
        pages: Int(packets.map(\.normal_num).max() ?? 0),
        payload: Int(packets.map(\.next_packet_size).max() ?? 0))
    }
    if setUp { self.setUp() }
  }

  /// recv_setup, once.
  func setUp() { setup = call("recv_setup") { library.methods.recv_setup!(params) } }

  deinit { close() }

  /// recv_cleanup, once.
  func close() {
    guard isOpen else { return }
    isOpen = false
    _ = host.call("recv_cleanup", UInt32(shape.id), packet) {
      library.methods.recv_cleanup!(params)
      return MULTIFD_OK
    }
    // What was in flight is not looked at any more, and not written to.
    slots.forEach { $0.hide() }
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

  /// Decodes one packet into the pages of `block` at `offsets`, while no other is in flight.
  /// `announced` is what the header says of the payload's size, which is also what the connection
  /// delivers unless `payload` has less.
  func receive(
    _ payload: [UInt8], announced: Int? = nil, _ block: Block?, _ offsets: [UInt64],
    zero zeroes: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) -> CallStatus {
    let status = submit(
      payload, announced: announced, block, offsets, zero: zeroes, number: number,
      reference: reference)
    return status.isOK ? complete() : status
  }

  /// Has one more packet decoded; there is room for as many as the backend has in flight. One that
  /// has one packet at a time has decoded it then.
  func submit(
    _ payload: [UInt8], announced: Int? = nil, _ block: Block?, _ offsets: [UInt64],
    zero zeroes: [UInt64] = [], number: UInt64? = nil, reference: Block? = nil
  ) -> CallStatus {
    packet = number ?? packet + 1
    if remembers {
      past.append(
        Past(payload: payload, announced: announced, offsets: offsets, reference: reference))
    }
    let slot = slots[flight.push()!], size = announced ?? payload.count
    slot.take(
      block, offsets, zeroes, library.methodFlags | shape.flags, packet, size, reference)
    let status: CallStatus, name: String
    if let submit = library.methods.recv_submit {
      let before = slot.packet.pointee
      name = "recv_submit"
      status = call("recv_submit", payload: payload, announced: size) {
        submit(params, slot.packet)
      }
      checkPacket(slot, before, name)
    } else {
      params.show(slot.packet.pointee)
      name = "recv"
      status = call("recv", payload: payload, announced: size) { library.methods.recv!(params) }
      slot.hide()
      block?.settle(offsets)
    }
    if !status.isOK {
      // Nobody waits for it.
      slot.hide()
      flight.cancelLast()
    } else if host.unread > 0, !host.hasFailedService {
      context.fail(
        "\(name)() returns OK and leaves \(host.unread) of \(size) bytes unread",
        as: "bounds/payload-read")
    }
    return status
  }

  /// Waits for the packet that was submitted first.
  func complete() -> CallStatus {
    let slot = slots[flight.pop()!]
    guard let complete = library.methods.recv_complete, library.methods.recv_submit != nil else {
      return .ok
    }
    let before = slot.packet.pointee
    let status = call("recv_complete") { complete(params, slot.packet) }
    checkPacket(slot, before, "recv_complete")
    slot.hide()
    slot.block?.settle(slot.offsets)
    return status
  }

  /// How many packets were submitted and not completed.
  var inFlight: Int { flight.count }
  /// How many can be.
  var depth: Int { slots.count }

  /// Of a packet in flight, only packet_data is the backend's to set.
  private func checkPacket(_ slot: ReceiveRoom, _ before: MultiFDRecvPacket, _ callback: String) {
    var expected = before
    expected.packet_data = slot.packet.pointee.packet_data
    if memcmp(&expected, slot.packet, MemoryLayout<MultiFDRecvPacket>.size) != 0 {
      context.fail(
        "\(callback)() changes members of the packet that are the host's", as: "bounds/params")
      slot.packet.pointee = expected
    }
  }
}
