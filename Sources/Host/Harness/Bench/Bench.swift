// How fast a backend is. Bench measures a channel, LinkModel says what that means on a link,
// Baseline holds a run to an earlier one.

import CHarness
import Glibc
import PluginAPI
import PluginLoader
import Synchronization

/// One channel in both directions with nothing around it: no guard pages, no checks, what a host
/// would do and no more. What it measures is the backend.
///
/// @unchecked Sendable: used by one thread at a time.
final class Bench: @unchecked Sendable {
  /// Who encodes, and who decodes: one library, or two of one direction each.
  private let sending: Library
  private let receiving: Library
  private let shape: Shape
  private let options: (send: OptionValues, receive: OptionValues)
  private let content: Content
  private var random: Seeded
  private let services: UnsafeMutablePointer<MultiFDServices>
  private let send: UnsafeMutablePointer<MultiFDSendParams>
  private let receive: UnsafeMutablePointer<MultiFDRecvParams>
  /// As many as can be in flight, each with its own array of pieces.
  private let sent: UnsafeMutableBufferPointer<MultiFDSendPacket>
  private let received: UnsafeMutableBufferPointer<MultiFDRecvPacket>
  private let normal: UnsafeMutablePointer<UInt64>
  let packets: Int
  private let source: UnsafeMutableRawPointer
  private let target: UnsafeMutableRawPointer
  /// Payloads one behind the other, and their sizes.
  private let wire: UnsafeMutableRawPointer
  private let wireSize: Int
  private var sizes: [Int]
  private var next: UnsafeMutableRawPointer
  /// When the packet before was done, or this one begun.
  private var mark: UInt64 = 0
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
    // Who asks has seen to it that both directions are there.
    let sending = (try? library.side(.send)) ?? library
    let receiving = (try? library.side(.receive)) ?? library
    (self.sending, self.receiving) = (sending, receiving)
    self.packets = packets
    let shape = Shape(library)
    self.shape = shape
    self.options = (
      OptionValues(sending, sending === library ? options : library.files(in: options)),
      OptionValues(receiving, receiving === library ? options : library.files(in: options))
    )
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
    sent = .allocate(capacity: sending.depth(.send))
    received = .allocate(capacity: receiving.depth(.receive))
    memset(sent.baseAddress!, 0, sent.count * MemoryLayout<MultiFDSendPacket>.stride)
    memset(received.baseAddress!, 0, received.count * MemoryLayout<MultiFDRecvPacket>.stride)
    for slot in sent.indices {
      sent[slot].struct_size = UInt32(MemoryLayout<MultiFDSendPacket>.size)
      sent[slot].slot = UInt32(slot)
      sent[slot].iov = .allocate(capacity: shape.pageCount + 16)
      sent[slot].normal = UnsafePointer(normal)
      sent[slot].normal_num = UInt32(shape.pageCount)
    }
    for slot in received.indices {
      received[slot].struct_size = UInt32(MemoryLayout<MultiFDRecvPacket>.size)
      received[slot].slot = UInt32(slot)
      received[slot].normal = UnsafePointer(normal)
      received[slot].normal_num = UInt32(shape.pageCount)
    }
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
    send.pointee.iov = sent[0].iov
    send.pointee.services = UnsafePointer(services)
    receive.pointee.services = UnsafePointer(services)
    send.pointee.options = self.options.send.values
    receive.pointee.options = self.options.receive.values
    // Lists and sizes are the same for every packet.
    send.pointee.normal = UnsafePointer(normal)
    receive.pointee.normal = UnsafePointer(normal)
    send.pointee.normal_num = UInt32(shape.pageCount)
    receive.pointee.normal_num = UInt32(shape.pageCount)
    let channel = OpaquePointer(Unmanaged.passUnretained(self).toOpaque())
    send.pointee.channel = channel
    receive.pointee.channel = channel
    fill()
    guard let setUp = sending.methods.send_setup, let receiverSetUp = receiving.methods.recv_setup
    else { return }
    let sends = setUp(send) == MULTIFD_OK
    isReady = receiverSetUp(receive) == MULTIFD_OK && sends
  }

  private func fill() {
    for page in 0..<packets * shape.pageCount {
      content.fill(source + page * shape.pageSize, shape.pageSize, &random)
    }
  }

  /// Other pages of the same content, where a packet may refer to earlier ones: a window that is
  /// larger than a pass would find all of the pass before in it.
  func renew() {
    if sending.isStateful { fill() }
  }

  private static func of(_ channel: OpaquePointer) -> Bench {
    Unmanaged<Bench>.fromOpaque(UnsafeRawPointer(channel)).takeUnretainedValue()
  }

  deinit {
    sending.methods.send_cleanup?(send)
    receiving.methods.recv_cleanup?(receive)
    let packet = shape.pageCount * shape.pageSize
    munmap(source, packets * packet)
    munmap(target, packets * packet)
    munmap(wire, wireSize)
    services.deallocate()
    send.deallocate()
    receive.deallocate()
    for packet in sent { packet.iov.deallocate() }
    sent.deallocate()
    received.deallocate()
    normal.deallocate()
  }

  /// Encodes all packets, then decodes them; nil when a callback fails. Nanoseconds for each
  /// packet: with several in flight, from the one before to it.
  func pass() -> Pass? {
    var result = Pass()
    var at = wire, done = 0
    mark = charness_now()
    for number in 0..<packets {
      if number - done == sent.count {
        guard finishEncoding(done, &at, &result) else { return nil }
        done += 1
      }
      guard encode(number, &result) else { return nil }
    }
    while done < packets {
      guard finishEncoding(done, &at, &result) else { return nil }
      done += 1
    }
    result.payload = at - wire
    next = wire
    done = 0
    mark = charness_now()
    for number in 0..<packets {
      if number - done == received.count {
        guard finishDecoding(done, &result) else { return nil }
        done += 1
      }
      guard decode(number, &result) else { return nil }
    }
    while done < packets {
      guard finishDecoding(done, &result) else { return nil }
      done += 1
    }
    return result
  }

  /// Calls the backend; what its thread has had of the processor is added to `used`.
  private func call(_ used: inout UInt64, _ body: () -> Int32?) -> Bool {
    let before = charness_thread_time()
    defer { used &+= charness_thread_time() &- before }
    return body() == MULTIFD_OK
  }

  private func encode(_ number: Int, _ result: inout Pass) -> Bool {
    let packet = shape.pageCount * shape.pageSize, slot = number % sent.count
    send.pointee.packet_num &+= 1
    let host = UnsafePointer((source + number * packet).assumingMemoryBound(to: UInt8.self))
    if sent.count == 1 { mark = charness_now() }
    guard let submit = sending.methods.send_submit else {
      send.pointee.host = host
      send.pointee.iovs_num = 0
      send.pointee.next_packet_size = 0
      guard call(&result.encodeCPU, { sending.methods.send_prepare?(send) }) else { return false }
      sent[slot].iovs_num = send.pointee.iovs_num
      sent[slot].next_packet_size = send.pointee.next_packet_size
      return true
    }
    sent[slot].packet_num = send.pointee.packet_num
    sent[slot].host = host
    sent[slot].iovs_num = 0
    sent[slot].next_packet_size = 0
    return call(&result.encodeCPU) { submit(send, sent.baseAddress! + slot) }
  }

  /// Waits for a packet, notes what it took, and puts its payload behind the others'.
  private func finishEncoding(
    _ number: Int, _ at: inout UnsafeMutableRawPointer, _ result: inout Pass
  ) -> Bool {
    let slot = sent.baseAddress! + number % sent.count
    if sending.methods.send_submit != nil {
      guard call(&result.encodeCPU, { sending.methods.send_complete?(send, slot) }) else {
        return false
      }
    }
    let now = charness_now()
    result.encode.append(now &- mark)
    mark = now
    sizes[number] = Int(slot.pointee.next_packet_size)
    guard at + sizes[number] <= wire + wireSize else { return false }
    for piece in 0..<Int(slot.pointee.iovs_num) {
      memcpy(at, slot.pointee.iov[piece].iov_base, slot.pointee.iov[piece].iov_len)
      at += slot.pointee.iov[piece].iov_len
    }
    return true
  }

  private func decode(_ number: Int, _ result: inout Pass) -> Bool {
    let packet = shape.pageCount * shape.pageSize, slot = number % received.count
    receive.pointee.packet_num &+= 1
    let host = (target + number * packet).assumingMemoryBound(to: UInt8.self)
    if received.count == 1 { mark = charness_now() }
    guard let submit = receiving.methods.recv_submit else {
      receive.pointee.host = host
      receive.pointee.next_packet_size = UInt32(sizes[number])
      return call(&result.decodeCPU) { receiving.methods.recv?(receive) }
    }
    received[slot].packet_num = receive.pointee.packet_num
    received[slot].host = host
    received[slot].next_packet_size = UInt32(sizes[number])
    return call(&result.decodeCPU) { submit(receive, received.baseAddress! + slot) }
  }

  private func finishDecoding(_ number: Int, _ result: inout Pass) -> Bool {
    if receiving.methods.recv_submit != nil {
      let slot = received.baseAddress! + number % received.count
      guard call(&result.decodeCPU, { receiving.methods.recv_complete?(receive, slot) }) else {
        return false
      }
    }
    let now = charness_now()
    result.decode.append(now &- mark)
    mark = now
    return true
  }
}
