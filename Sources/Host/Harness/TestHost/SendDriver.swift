import CHarness
import Glibc
import PluginAPI
import PluginLoader

/// One packet's payload, gathered as the kernel would.
struct Payload {
  let status: CallStatus
  var bytes: [UInt8] = []
  var pieces: [MultiFDIOVec] = []
}

/// The send side of one channel: calls the raw table and checks what the header promises about each
/// call. Cleans up with its owner.
///
/// @unchecked Sendable: used by one thread at a time, like the channel that it is.
final class SendDriver: @unchecked Sendable {
  let host: TestHost
  let shape: Shape
  let library: Library
  let options: OptionValues
  /// What send_setup returned.
  private(set) var setup = CallStatus.ok
  let params: UnsafeMutablePointer<MultiFDSendParams>
  private let context: Context
  private let paramsMemory: GuardedMemory
  private let slots: [SendRoom]
  /// Which of them packets are in, the oldest first.
  private var flight: Flight
  private var isOpen = true
  private var packet: UInt64 = 0

  var iovsMax: Int { shape.pageCount + 16 }

  init(
    _ context: Context, _ shape: Shape, options: [String: String]? = nil,
    failingAllocation: Int? = nil, sets setUp: Bool = true
  ) throws(Stop) {
    self.context = context
    self.shape = shape
    library = try context.library.side(.send)
    self.options = OptionValues(library, options ?? context.options(of: library))
    host = TestHost(
      context, memory: shape.memory, extra: shape.extra, filling: shape.filling)
    host.memory.failingAllocation = failingAllocation
    let depth = library.depth(.send)
    flight = Flight(depth: depth)
    slots = (0..<depth).map { SendRoom($0, shape) }
    let size = MemoryLayout<MultiFDSendParams>.size
    paramsMemory = GuardedMemory(
      size + shape.extra, alignment: 8, kind: .params, behind: shape.behind)
    params = paramsMemory.base.bindMemory(to: MultiFDSendParams.self, capacity: 1)
    // All zero, so compress_data and `reference` are NULL; a later host's part stays 0xa5.
    memset(params, 0, size)
    params.pointee.struct_size = UInt32(size + shape.extra)
    params.pointee.id = UInt32(shape.id)
    params.pointee.channels = UInt32(shape.channels)
    params.pointee.page_size = UInt32(shape.pageSize)
    params.pointee.page_count = UInt32(shape.pageCount)
    params.pointee.iovs_max = UInt32(shape.pageCount + 16)
    params.pointee.services = host.services
    params.pointee.channel = host.channel
    params.pointee.options = self.options.values
    params.pointee.iov = slots[0].iovs
    // The host is this driver's, as params are, and calls nothing when the driver is gone.
    let submits = library.methods.send_submit != nil
    host.sizes = { [params, slots] in
      // Of packets in flight the largest is good enough for a picture.
      let packets = submits ? slots.map(\.packet.pointee) : []
      return CallTrace.Sizes(
        pages: Int(packets.map(\.normal_num).max() ?? params.pointee.normal_num),
        payload: Int(packets.map(\.next_packet_size).max() ?? params.pointee.next_packet_size))
    }
    if setUp { self.setUp() }
  }

  /// send_setup, once.
  func setUp() { setup = call("send_setup") { library.methods.send_setup!(params) } }

  deinit { close() }

  /// send_cleanup, once.
  func close() {
    guard isOpen else { return }
    isOpen = false
    slots.forEach(checkLast)
    _ = host.call("send_cleanup", UInt32(shape.id), packet) {
      library.methods.send_cleanup!(params)
      return MULTIFD_OK
    }
    // What was in flight is not looked at any more.
    slots.forEach { $0.hide() }
    host.memory.checkEmpty("send_cleanup")
  }

  private func call(_ name: StaticString, _ body: () -> Int32) -> CallStatus {
    let before = params.pointee
    let status = host.call(name, UInt32(shape.id), packet, body)
    checkParams(before, name.description)
    return CallStatus(status, of: name.description, host, context)
  }

  /// Only compress_data, iovs_num and next_packet_size are the backend's to set.
  private func checkParams(_ before: MultiFDSendParams, _ callback: String) {
    var expected = before
    expected.compress_data = params.pointee.compress_data
    expected.iovs_num = params.pointee.iovs_num
    expected.next_packet_size = params.pointee.next_packet_size
    if memcmp(&expected, params, MemoryLayout<MultiFDSendParams>.size) != 0 {
      context.fail(
        "\(callback)() changes members of params that are the host's", as: "bounds/params")
      params.pointee = expected
    }
  }

  /// Encodes one packet, while no other is in flight: the pages of `block` at `offsets`.
  func prepare(
    _ block: Block?, _ offsets: [UInt64], zero zeroes: [UInt64] = [], number: UInt64? = nil,
    reference: Block? = nil
  ) -> Payload {
    let status = submit(block, offsets, zero: zeroes, number: number, reference: reference)
    return status.isOK ? complete() : Payload(status: status)
  }

  /// Has one more packet encoded; there is room for as many as the backend has in flight. One that
  /// has one packet at a time has encoded it then.
  func submit(
    _ block: Block?, _ offsets: [UInt64], zero zeroes: [UInt64] = [], number: UInt64? = nil,
    reference: Block? = nil
  ) -> CallStatus {
    packet = number ?? packet + 1
    let slot = slots[flight.push()!]
    checkLast(slot)
    slot.take(block, offsets, zeroes, library.methodFlags | shape.flags, packet, reference)
    let status: CallStatus
    if let submit = library.methods.send_submit {
      let before = slot.packet.pointee
      status = call("send_submit") { submit(params, slot.packet) }
      checkPacket(slot, before, "send_submit")
    } else {
      params.show(slot.packet.pointee)
      status = call("send_prepare") { library.methods.send_prepare!(params) }
      slot.packet.takeResult(of: params)
      slot.hide()
    }
    if !status.isOK {
      // Nobody waits for it.
      slot.hide()
      flight.cancelLast()
    }
    return status
  }

  /// Waits for the packet that was submitted first.
  func complete() -> Payload {
    let slot = slots[flight.pop()!]
    var status = CallStatus.ok
    if let complete = library.methods.send_complete, library.methods.send_submit != nil {
      let before = slot.packet.pointee
      status = call("send_complete") { complete(params, slot.packet) }
      checkPacket(slot, before, "send_complete")
      slot.hide()
    }
    return status.isOK ? gather(slot, status) : Payload(status: status)
  }

  /// How many packets were submitted and not completed.
  var inFlight: Int { flight.count }
  /// How many can be.
  var depth: Int { slots.count }

  /// Of a packet in flight, only what it becomes and packet_data are the backend's to set.
  private func checkPacket(_ slot: SendRoom, _ before: MultiFDSendPacket, _ callback: String) {
    var expected = before
    expected.packet_data = slot.packet.pointee.packet_data
    expected.iovs_num = slot.packet.pointee.iovs_num
    expected.next_packet_size = slot.packet.pointee.next_packet_size
    if memcmp(&expected, slot.packet, MemoryLayout<MultiFDSendPacket>.size) != 0 {
      context.fail(
        "\(callback)() changes members of the packet that are the host's", as: "bounds/params")
      slot.packet.pointee = expected
    }
  }

  /// Checks and collects what the backend has set.
  private func gather(_ slot: SendRoom, _ status: CallStatus) -> Payload {
    let (block, offsets) = (slot.block, slot.offsets)
    let count = Int(slot.packet.pointee.iovs_num)
    let size = Int(slot.packet.pointee.next_packet_size)
    guard count <= iovsMax else {
      context.fail("iovs_num is \(count), iovs_max \(iovsMax)", as: "bounds/iov-count")
      return Payload(status: .breach)
    }
    let pieces = slot.iov.base.withMemoryRebound(to: UInt.self, capacity: count * 2) { words in
      // Two words make one entry, and `count` is within what was allocated.
      (0..<count).map { (base: words[$0 * 2], length: words[$0 * 2 + 1]) }
    }
    var sum: UInt = 0
    for piece in pieces { sum = piece.length > UInt(1) << 40 ? .max / 2 : sum &+ piece.length }
    guard sum == UInt(size) else {
      context.fail(
        "next_packet_size is \(size), the pieces of iov have \(sum) bytes", as: "bounds/iov-sum")
      return Payload(status: .breach)
    }
    checkSize(size, offsets.count)
    if pieces.contains(where: { $0.length == 0 }) {
      context.fail("a piece of iov is empty", as: "bounds/iov-sum")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    charness_blame("bounds/iov-memory")
    for piece in pieces where piece.length > 0 {
      guard let base = UnsafeRawPointer(bitPattern: piece.base) else {
        charness_blame(nil)
        context.fail("a piece of \(piece.length) bytes is at NULL", as: "bounds/iov-memory")
        return Payload(status: .breach)
      }
      // By the backend's word; a fault here is its fault, as told above.
      bytes += UnsafeRawBufferPointer(start: base, count: Int(piece.length))
    }
    charness_blame(nil)
    let iovs = pieces.filter { $0.length > 0 }.map {
      MultiFDIOVec(iov_base: UnsafeMutableRawPointer(bitPattern: $0.base)!, iov_len: Int($0.length))
    }
    let isApart = block.map { checkGuestPieces(iovs, $0, offsets) } ?? true
    // Pieces in guest memory change with the guest.
    slot.last = library.has(MULTIFD_CAP_ZERO_COPY) || !isApart ? nil : (iovs, bytes)
    return Payload(status: status, bytes: bytes, pieces: iovs)
  }

  private func checkSize(_ size: Int, _ pages: Int) {
    guard pages > 0 else {
      context.check(size == 0, as: "roundtrip/empty", "\(size) bytes of payload for no pages")
      return
    }
    context.check(size > 0, as: "roundtrip/empty", "no byte of payload for \(pages) pages")
    let bound = library.bound(shape.pageSize, pages)
    context.check(
      size <= bound, as: "bounds/payload-bound",
      "\(pages) pages of \(shape.pageSize) became \(size) bytes, payload_bound() says \(bound)")
    if library.methods.qemu_method != MULTIFD_QEMU_METHOD_UNKNOWN,
      shape.pageSize * shape.pageCount <= 128 * 4096
    {
      context.check(
        size <= Int(MULTIFD_QEMU_MAX_PAYLOAD), as: "bounds/payload-bound",
        "\(size) bytes of payload, a stock QEMU receives at most \(MULTIFD_QEMU_MAX_PAYLOAD)")
    }
  }

  /// Pieces may lie in the packet's pages, with ZERO_COPY, and nowhere else in the block. False
  /// when they do otherwise, which has been reported then.
  private func checkGuestPieces(_ pieces: [MultiFDIOVec], _ block: Block, _ offsets: [UInt64])
    -> Bool
  {
    let start = UInt(bitPattern: block.base)
    let end = start + UInt(block.offsets.last ?? 0) + UInt(block.pageSize)
    let pages = Set(offsets)
    let size = UInt(block.pageSize)
    for piece in pieces {
      let at = UInt(bitPattern: piece.iov_base)
      guard at < end, at + UInt(piece.iov_len) > start else { continue }
      guard library.has(MULTIFD_CAP_ZERO_COPY) else {
        context.fail(
          "a piece of iov lies in guest memory, but ZERO_COPY is not declared",
          as: "bounds/iov-guest")
        return false
      }
      var page = (at - start) / size * size
      while page < at - start + UInt(piece.iov_len) {
        guard pages.contains(UInt64(page)) else {
          context.fail("a piece of iov reaches beyond the packet's pages", as: "bounds/iov-guest")
          return false
        }
        page += size
      }
    }
    return true
  }

  /// Whether the payload of a slot's packet before is still what it was.
  private func checkLast(_ slot: SendRoom) {
    guard let (pieces, bytes) = slot.last else { return }
    slot.last = nil
    charness_blame("bounds/iov-stable")
    defer { charness_blame(nil) }
    var at = 0
    for piece in pieces {
      let same = bytes.withUnsafeBytes {
        memcmp(piece.iov_base, $0.baseAddress! + at, piece.iov_len) == 0
      }
      guard same else {
        context.fail(
          "the payload of packet \(slot.packet.pointee.packet_num) has changed since",
          as: "bounds/iov-stable")
        return
      }
      at += piece.iov_len
    }
  }
}
