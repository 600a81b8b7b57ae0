// How fast a backend is. Bench measures a channel, LinkModel says what that means on a link,
// Baseline holds a run to an earlier one.

import CHarness
import Glibc
import PluginAPI
import Synchronization

/// One channel in both directions with nothing around it: no guard pages, no checks, what a host
/// would do and no more. What it measures is the backend.
///
/// @unchecked Sendable: used by one thread at a time.
final class Bench: @unchecked Sendable {
  private let library: Library
  private let shape: Shape
  private let options: OptionValues
  private let content: Content
  private var random: Seeded
  private let services: UnsafeMutablePointer<MultiFDServices>
  private let send: UnsafeMutablePointer<MultiFDSendParams>
  private let receive: UnsafeMutablePointer<MultiFDRecvParams>
  private let iov: UnsafeMutablePointer<MultiFDIOVec>
  private let normal: UnsafeMutablePointer<UInt64>
  let packets: Int
  private let source: UnsafeMutableRawPointer
  private let target: UnsafeMutableRawPointer
  /// Payloads one behind the other, and their sizes.
  private let wire: UnsafeMutableRawPointer
  private let wireSize: Int
  private var sizes: [Int]
  private var next: UnsafeMutableRawPointer
  /// Whether both directions are set up.
  private(set) var isReady = false

  /// What one pass over all packets took.
  struct Pass {
    var encode: [UInt64] = []
    var decode: [UInt64] = []
    /// Nanoseconds that this thread has had of a processor, for all packets: what a busy machine
    /// does not change, and what a backend that leaves work to threads of its own does not show.
    var encodeCPU: UInt64 = 0
    var decodeCPU: UInt64 = 0
    var payload = 0
  }

  /// Bytes of pages in one pass.
  var bytes: Int { packets * shape.pageCount * shape.pageSize }

  /// `packets` full packets of `content`; nil options for the defaults.
  init(
    _ library: Library, _ content: Content, packets: Int, options: [String: String], seed: UInt64
  ) {
    self.library = library
    self.packets = packets
    let shape = Shape(library)
    self.shape = shape
    self.options = OptionValues(library, options)
    let packet = shape.pageCount * shape.pageSize
    let bound = library.bound(shape.pageSize, shape.pageCount)
    source = map(packets * packet, access: .writing)
    target = map(packets * packet, access: .writing)
    wireSize = packets * max(bound, 1)
    wire = map(wireSize, access: .writing)
    next = wire
    sizes = [Int](repeating: 0, count: packets)
    self.content = content
    random = Seeded(seed)
    normal = .allocate(capacity: shape.pageCount)
    for page in 0..<shape.pageCount { normal[page] = UInt64(page * shape.pageSize) }
    iov = .allocate(capacity: shape.pageCount + 16)
    services = .allocate(capacity: 1)
    send = .allocate(capacity: 1)
    receive = .allocate(capacity: 1)
    memset(send, 0, MemoryLayout<MultiFDSendParams>.size)
    memset(receive, 0, MemoryLayout<MultiFDRecvParams>.size)
    services.initialize(
      to: MultiFDServices(
        struct_size: UInt32(MemoryLayout<MultiFDServices>.size),
        abi_major: UInt16(MULTIFD_ABI_MAJOR), abi_minor: UInt16(MULTIFD_ABI_MINOR),
        read: { channel, data, size in
          let bench = Bench.of(channel)
          memcpy(data, bench.next, size)
          bench.next += size
          return MULTIFD_OK
        },
        readv: { channel, pieces, count in
          let bench = Bench.of(channel)
          for piece in UnsafeBufferPointer(start: pieces, count: Int(count)) {
            memcpy(piece.iov_base, bench.next, piece.iov_len)
            bench.next += piece.iov_len
          }
          return MULTIFD_OK
        },
        log: { _, _, _ in }, error: { _, _ in },
        alloc: { _, size, alignment in
          var start: UnsafeMutableRawPointer?
          return posix_memalign(&start, max(alignment, 16), max(size, 1)) == 0 ? start : nil
        },
        free: { _, pointer in Glibc.free(pointer) }))
    send.pointee.struct_size = UInt32(MemoryLayout<MultiFDSendParams>.size)
    receive.pointee.struct_size = UInt32(MemoryLayout<MultiFDRecvParams>.size)
    send.pointee.channels = 1
    receive.pointee.channels = 1
    send.pointee.page_size = UInt32(shape.pageSize)
    receive.pointee.page_size = UInt32(shape.pageSize)
    send.pointee.page_count = UInt32(shape.pageCount)
    receive.pointee.page_count = UInt32(shape.pageCount)
    send.pointee.iovs_max = UInt32(shape.pageCount + 16)
    send.pointee.iov = iov
    send.pointee.services = UnsafePointer(services)
    receive.pointee.services = UnsafePointer(services)
    send.pointee.options = self.options.values
    receive.pointee.options = self.options.values
    // Lists and sizes are the same for every packet.
    send.pointee.normal = UnsafePointer(normal)
    receive.pointee.normal = UnsafePointer(normal)
    send.pointee.normal_num = UInt32(shape.pageCount)
    receive.pointee.normal_num = UInt32(shape.pageCount)
    let channel = OpaquePointer(Unmanaged.passUnretained(self).toOpaque())
    send.pointee.channel = channel
    receive.pointee.channel = channel
    let sends = library.methods.send_setup(send) == MULTIFD_OK
    isReady = library.methods.recv_setup(receive) == MULTIFD_OK && sends
    fill()
  }

  private func fill() {
    for page in 0..<packets * shape.pageCount {
      content.fill(source + page * shape.pageSize, shape.pageSize, &random)
    }
  }

  /// Other pages of the same content, where a packet may refer to earlier ones: a window that is
  /// larger than a pass would find all of the pass before in it.
  func renew() {
    if library.isStateful { fill() }
  }

  private static func of(_ channel: OpaquePointer) -> Bench {
    Unmanaged<Bench>.fromOpaque(UnsafeRawPointer(channel)).takeUnretainedValue()
  }

  deinit {
    library.methods.send_cleanup(send)
    library.methods.recv_cleanup(receive)
    let packet = shape.pageCount * shape.pageSize
    munmap(source, packets * packet)
    munmap(target, packets * packet)
    munmap(wire, wireSize)
    services.deallocate()
    send.deallocate()
    receive.deallocate()
    iov.deallocate()
    normal.deallocate()
  }

  /// Encodes all packets, then decodes them; nil when a callback fails. Nanoseconds for each
  /// packet.
  func pass() -> Pass? {
    let packet = shape.pageCount * shape.pageSize
    var result = Pass()
    var at = wire
    for number in 0..<packets {
      send.pointee.packet_num &+= 1
      send.pointee.host = UnsafePointer(
        (source + number * packet).assumingMemoryBound(to: UInt8.self))
      send.pointee.iovs_num = 0
      send.pointee.next_packet_size = 0
      let used = charness_thread_time(), start = charness_now()
      guard library.methods.send_prepare(send) == MULTIFD_OK else { return nil }
      result.encode.append(charness_now() &- start)
      result.encodeCPU &+= charness_thread_time() &- used
      sizes[number] = Int(send.pointee.next_packet_size)
      guard at + sizes[number] <= wire + wireSize else { return nil }
      for piece in 0..<Int(send.pointee.iovs_num) {
        memcpy(at, iov[piece].iov_base, iov[piece].iov_len)
        at += iov[piece].iov_len
      }
    }
    result.payload = at - wire
    next = wire
    for number in 0..<packets {
      receive.pointee.packet_num &+= 1
      receive.pointee.host = (target + number * packet).assumingMemoryBound(to: UInt8.self)
      receive.pointee.next_packet_size = UInt32(sizes[number])
      let used = charness_thread_time(), start = charness_now()
      guard library.methods.recv(receive) == MULTIFD_OK else { return nil }
      result.decode.append(charness_now() &- start)
      result.decodeCPU &+= charness_thread_time() &- used
    }
    return result
  }
}
