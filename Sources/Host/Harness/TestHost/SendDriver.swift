import CHarness
import Glibc
import PluginAPI

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
  private let iov: GuardedMemory
  private let normal: PageLists
  private let zero: PageLists
  private var isOpen = true
  /// The payload of the packet before and the pieces it was gathered from, to see that they stay.
  private var last: (pieces: [MultiFDIOVec], bytes: [UInt8])?
  private var packet: UInt64 = 0

  var iovsMax: Int { shape.pageCount + 16 }

  init(
    _ context: Context, _ shape: Shape, options: [String: String]? = nil,
    failingAllocation: Int? = nil, sets setUp: Bool = true
  ) throws(Stop) {
    self.context = context
    self.shape = shape
    library = try context.library
    self.options = OptionValues(library, options ?? context.order.options)
    host = TestHost(
      context, memory: shape.memory, extra: shape.extra, filling: shape.filling)
    host.memory.failingAllocation = failingAllocation
    normal = PageLists(capacity: shape.pageCount)
    zero = PageLists(capacity: shape.pageCount)
    // Exactly iovs_max entries in front of the guard page.
    iov = GuardedMemory((shape.pageCount + 16) * 16, alignment: 16, kind: .iov)
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
    params.pointee.iov = iov.base.assumingMemoryBound(to: MultiFDIOVec.self)
    // The host is this driver's, as params are, and calls nothing when the driver is gone.
    host.sizes = { [params] in
      CallTrace.Sizes(
        pages: Int(params.pointee.normal_num), payload: Int(params.pointee.next_packet_size))
    }
    if setUp { self.setUp() }
  }

  /// send_setup, once.
  func setUp() { setup = call("send_setup") { library.methods.send_setup(params) } }

  deinit { close() }

  /// send_cleanup, once.
  func close() {
    guard isOpen else { return }
    isOpen = false
    checkLast()
    _ = host.call("send_cleanup", UInt32(shape.id), packet) {
      library.methods.send_cleanup(params)
      return MULTIFD_OK
    }
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

  /// Prepares one packet: the pages of `block` at `offsets`.
  func prepare(
    _ block: Block?, _ offsets: [UInt64], zero zeroes: [UInt64] = [], number: UInt64? = nil,
    reference: Block? = nil
  ) -> Payload {
    checkLast()
    packet = number ?? packet + 1
    params.pointee.packet_num = packet
    params.pointee.host =
      offsets.isEmpty
      ? nil : block.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
    params.pointee.normal = normal.show(offsets)
    params.pointee.zero = zero.show(zeroes)
    params.pointee.normal_num = UInt32(offsets.count)
    params.pointee.zero_num = UInt32(zeroes.count)
    params.pointee.flags = library.methodFlags | shape.flags
    params.pointee.next_packet_size = 0
    params.pointee.iovs_num = 0
    params.pointee.reference =
      reference.map { UnsafePointer($0.base.assumingMemoryBound(to: UInt8.self)) }
    let status = call("send_prepare") { library.methods.send_prepare(params) }
    normal.hide()
    zero.hide()
    guard status.isOK else { return Payload(status: status) }
    return gather(block, offsets, status)
  }

  /// Checks and collects what send_prepare() has set.
  private func gather(_ block: Block?, _ offsets: [UInt64], _ status: CallStatus) -> Payload {
    let count = Int(params.pointee.iovs_num), size = Int(params.pointee.next_packet_size)
    guard count <= iovsMax else {
      context.fail("iovs_num is \(count), iovs_max \(iovsMax)", as: "bounds/iov-count")
      return Payload(status: .breach)
    }
    let pieces = iov.base.withMemoryRebound(to: UInt.self, capacity: count * 2) { words in
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
    last = library.has(MULTIFD_CAP_ZERO_COPY) || !isApart ? nil : (iovs, bytes)
    return Payload(status: status, bytes: bytes, pieces: iovs)
  }

  private func checkSize(_ size: Int, _ pages: Int) {
    guard pages > 0 else {
      context.check(size == 0, as: "roundtrip/empty", "\(size) bytes of payload for no pages")
      return
    }
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

  /// Whether the payload of the packet before is still what it was.
  private func checkLast() {
    guard let (pieces, bytes) = last else { return }
    last = nil
    charness_blame("bounds/iov-stable")
    defer { charness_blame(nil) }
    var at = 0
    for piece in pieces {
      let same = bytes.withUnsafeBytes {
        memcmp(piece.iov_base, $0.baseAddress! + at, piece.iov_len) == 0
      }
      guard same else {
        context.fail("the payload of packet \(packet) has changed since", as: "bounds/iov-stable")
        return
      }
      at += piece.iov_len
    }
  }
}
