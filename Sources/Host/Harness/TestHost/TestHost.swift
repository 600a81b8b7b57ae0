// The host that a backend meets here. It talks to the raw table, since PluginLoader's checks would
// hide faults.
//
// Library and ELFSymbols are the file, OptionEntry its options; GuardedMemory and Block memory with
// pages around it that nobody may touch, Filling what it holds. TestHost is the host's side of a
// channel, ChannelMemory what its alloc() gives out, SendDriver and ReceiveDriver the two
// directions, Lane both of them with pages to send, Attack a receiver that is given something else,
// CallStatus how a callback ended, CallTrace a file of all calls.

import CHarness
import Glibc
import PluginAPI

/// The host's side of one channel in one direction: the services, each held to its rules.
///
/// @unchecked Sendable: used by one thread at a time, like the channel it belongs to.
final class TestHost: @unchecked Sendable {
  private let context: Context
  /// What alloc() has given out.
  let memory: ChannelMemory
  private let servicesMemory: GuardedMemory
  /// What the backend gets.
  let services: UnsafePointer<MultiFDServices>

  // The callback that is running.
  private var callback = ""
  private var thread: Int32 = 0
  private var isReceiving = false
  private var incoming: [UInt8] = []
  private var position = 0
  private var packetLeft = 0
  /// A service has failed in this callback.
  private(set) var hasFailedService = false
  /// A service was called where it may not be, in this callback; reported then.
  private(set) var hasBeenMisused = false
  /// Texts given to error() in this callback.
  private(set) var errors: [String] = []
  /// Reads so far in this callback.
  private(set) var readCount = 0

  // Faults to come.
  /// The number of the read that fails in each packet, and with what.
  var failingRead: (number: Int, status: Int32)?
  /// A descriptor that payload comes through, instead of memory.
  var pipe: Int32?

  /// What a trace says of a call that has returned; the driver knows.
  var sizes: () -> CallTrace.Sizes = { CallTrace.Sizes() }

  /// A warning in setup has its place; one in every packet fills an operator's disk.
  private static let mostLoud = 4

  /// Callbacks that went well and had an error or a warning logged.
  private var loud = 0
  private var isLoud = false

  /// `extra`: bytes that the struct is longer than today's, as a later host's is. `filling`: what
  /// memory of alloc() is full of.
  init(
    _ context: Context, memory: ChannelMemory.Kind = .guarded, extra: Int = 0,
    filling: UInt8 = Filling.byte
  ) {
    self.context = context
    self.memory = ChannelMemory(context, memory, filling: filling)
    let size = MemoryLayout<MultiFDServices>.size
    servicesMemory = GuardedMemory(size + extra, alignment: 8, kind: .services)
    services = UnsafePointer(
      servicesMemory.base.bindMemory(to: MultiFDServices.self, capacity: 1))
    servicesMemory.base.assumingMemoryBound(to: MultiFDServices.self).initialize(
      to: MultiFDServices(
        struct_size: UInt32(size + extra), abi_major: UInt16(MULTIFD_ABI_MAJOR),
        abi_minor: UInt16(MULTIFD_ABI_MINOR) + (extra > 0 ? 1 : 0),
        read: { channel, data, size in TestHost.of(channel).read(data, size) },
        readv: { channel, pieces, count in TestHost.of(channel).readv(pieces, count) },
        log: { channel, level, message in TestHost.of(channel).log(level, message) },
        error: { channel, message in TestHost.of(channel).error(message) },
        alloc: { channel, size, alignment in TestHost.of(channel).alloc(size, alignment) },
        free: { channel, pointer in TestHost.of(channel).free(pointer) }))
    servicesMemory.allow(.reading)
  }

  /// What the backend sees as its channel. Valid as long as `self`: the drivers own it.
  var channel: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  private static func of(_ channel: OpaquePointer) -> TestHost {
    Unmanaged<TestHost>.fromOpaque(UnsafeRawPointer(channel)).takeUnretainedValue()
  }

  /// Runs a callback. `payload` waits in the connection, of a packet that announces `announced`
  /// bytes; nil on the send side and outside packets.
  func call(
    _ name: StaticString, _ channel: UInt32, _ packet: UInt64, payload: [UInt8]? = nil,
    announced: Int = 0, _ body: () -> Int32
  ) -> Int32 {
    callback = name.description
    thread = charness_thread_id()
    isReceiving = payload != nil
    incoming = payload ?? []
    position = 0
    packetLeft = announced
    hasFailedService = false
    hasBeenMisused = false
    errors = []
    isLoud = false
    readCount = 0
    let isTraced = context.trace?.begin(name, channel: channel, packet: packet) ?? false
    // A literal: NUL-terminated and there for ever.
    charness_enter(
      UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), channel, packet)
    let status = body()
    charness_leave()
    if isTraced { context.trace?.end(name, status, sizes()) }
    if isLoud, status == MULTIFD_OK {
      loud += 1
      if loud == Self.mostLoud {
        context.fail(
          "\(callback)() has warnings or errors logged though all goes well, again and again",
          as: "lifecycle/prints-nothing")
      }
    }
    isReceiving = false
    callback = ""
    return status
  }

  /// Bytes of the packet that nobody has read.
  var unread: Int { packetLeft }

  // MARK: Services

  private func enter(_ service: String) {
    if callback.isEmpty || thread != charness_thread_id() {
      context.fail(
        "\(service)() is called outside the callbacks, or by a thread that is not inside one",
        as: "bounds/services")
    }
  }

  private func misuse(_ text: String) -> Int32 {
    context.fail("\(callback)() \(text)", as: "bounds/services")
    hasBeenMisused = true
    return MULTIFD_ERROR_CHANNEL
  }

  private func read(_ data: UnsafeMutableRawPointer, _ size: Int) -> Int32 {
    enter("read")
    guard isReceiving else { return misuse("calls read(): only recv() and recv_submit() may") }
    guard size == 0 || UInt(bitPattern: data) != 0 else { return misuse("reads to NULL") }
    return withUnsafePointer(to: MultiFDIOVec(iov_base: data, iov_len: size)) {
      fill(UnsafeBufferPointer(start: $0, count: 1))
    }
  }

  private func readv(_ pieces: UnsafePointer<MultiFDIOVec>, _ count: UInt32) -> Int32 {
    enter("readv")
    guard isReceiving else { return misuse("calls readv(): only recv() and recv_submit() may") }
    guard count == 0 || UInt(bitPattern: pieces) != 0 else { return misuse("calls readv(NULL)") }
    return fill(UnsafeBufferPointer(start: pieces, count: Int(count)))
  }

  private func fill(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) -> Int32 {
    let number = readCount
    readCount += 1
    if hasFailedService {
      context.fail("\(callback)() goes on reading after a read has failed", as: "faults/read-fails")
      return MULTIFD_ERROR_CHANNEL
    }
    if let failingRead, failingRead.number == number {
      hasFailedService = true
      return failingRead.status
    }
    for piece in pieces {
      // A size beyond Int is a negative Int here: more than any payload.
      let size = piece.iov_len < 0 ? Int.max : piece.iov_len
      guard size <= packetLeft else {
        hasFailedService = true
        return MULTIFD_ERROR_CHANNEL
      }
      packetLeft -= size
      guard take(piece.iov_base, size) else {
        hasFailedService = true
        return MULTIFD_ERROR_CHANNEL
      }
    }
    return MULTIFD_OK
  }

  /// Moves `size` bytes from the connection; false at its end.
  private func take(_ data: UnsafeMutableRawPointer, _ size: Int) -> Bool {
    if size == 0 { return true }
    if let pipe {
      var done = 0
      while done < size {
        // `size` writable bytes at `data`: the backend's word, as in read(2).
        let count = Glibc.read(pipe, data + done, size - done)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return false }
        done += count
      }
      return true
    }
    guard size <= incoming.count - position else { return false }
    incoming.withUnsafeBytes {
      // In range: checked above. The same word of the backend.
      _ = memcpy(data, $0.baseAddress! + position, size)
    }
    position += size
    return true
  }

  private func log(_ level: UInt32, _ message: UnsafePointer<CChar>) {
    enter("log")
    if level > MULTIFD_LOG_DEBUG || UInt(bitPattern: message) == 0 {
      context.fail("log() with level \(level) or without a text", as: "bounds/services")
    }
    if level <= MULTIFD_LOG_WARNING { isLoud = true }
  }

  private func error(_ message: UnsafePointer<CChar>) {
    enter("error")
    guard UInt(bitPattern: message) != 0 else {
      context.fail("error() without a text", as: "bounds/services")
      return
    }
    errors.append(String(cString: message))
  }

  private func alloc(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
    enter("alloc")
    return memory.alloc(size, alignment)
  }

  private func free(_ pointer: UnsafeMutableRawPointer?) {
    enter("free")
    memory.free(pointer)
  }
}
