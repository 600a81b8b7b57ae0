import PluginAPI
import PluginLoader

/// A source of bytes 0, 1, 2, … that fails where it is told to.
final class CountingSource: PayloadSource {
  struct Broken: Error, Equatable {}
  var given = 0
  var failsAfter = Int.max
  var during: (() -> Void)?

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    during?()
    guard given + buffer.count <= failsAfter else { throw Broken() }
    for index in buffer.indices { buffer[index] = UInt8(truncatingIfNeeded: given + index) }
    given += buffer.count
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    for piece in pieces {
      // Pages of the test, as long as the piece says.
      try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
  }
}

/// A block of pages and one channel that fills it.
final class Receiver {
  static let pages = 8
  let source = CountingSource()
  let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 4096, alignment: 4096)
  let channel: ReceiveChannel

  init(_ backend: Backend, act: String, memoryLimit: Int = 1 << 20, log: BackendLog? = nil) throws {
    block.initializeMemory(as: UInt8.self, repeating: 0xee)
    channel = try backend.makeReceiver(
      id: 1, channels: 2, pageSize: 4096, pageCount: Self.pages,
      options: backend.parse([("act", act)]), source: source, memoryLimit: memoryLimit, log: log)
  }

  deinit { block.deallocate() }

  func receive(_ normal: [UInt64], zero: [UInt64] = [], size: Int? = nil) throws {
    try normal.withUnsafeBufferPointer { normal in
      try zero.withUnsafeBufferPointer { zero in
        try channel.receive(
          host: block.baseAddress!, normal: normal, zero: zero,
          payloadSize: size ?? normal.count * 4096, flags: 0, packetNumber: 17)
      }
    }
  }

  /// What receiving two pages throws.
  func error(size: Int? = nil) -> PluginError? {
    do {
      try receive([0x1000, 0x3000], size: size)
      return nil
    } catch {
      return error as? PluginError
    }
  }
}
