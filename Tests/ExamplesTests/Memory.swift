import PluginAPI
import PluginLoader
import TestSupport
import Testing

/// Some pages of memory.
final class Memory {
  private let bytes: UnsafeMutableRawBufferPointer

  init(pages: Int) throws {
    bytes = .allocate(byteCount: pages * 4096, alignment: 4096)
    bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
  }

  deinit { bytes.deallocate() }

  var base: UnsafeMutableRawPointer { bytes.baseAddress! }

  /// Pages as a guest has them: zero, runs, words with holes, text, random.
  func fill(using random: inout SeededGenerator) {
    let text = Array(
      "All pages are made of bytes, and some bytes are more equal than others. ".utf8)
    for start in stride(from: 0, to: bytes.count, by: 4096) {
      let page = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + 4096])
      switch UInt64.random(in: 0..<6, using: &random) {
      case 0:
        page.initializeMemory(as: UInt8.self, repeating: 0)
      case 1:
        for at in stride(from: 0, to: 4096, by: 8) {
          page.storeBytes(of: random.next(), toByteOffset: at, as: UInt64.self)
        }
      case 2:
        let shift = Int.random(in: 0..<text.count, using: &random)
        let turned = text[shift...] + text[..<shift]
        for at in stride(from: 0, to: 4096, by: text.count) {
          UnsafeMutableRawBufferPointer(rebasing: page[at...])
            .copyBytes(from: turned.prefix(4096 - at))
        }
      case 3:
        for at in stride(from: 0, to: 4096, by: 8) {
          let word = Int.random(in: 0..<3, using: &random) == 0 ? random.next() : 0
          page.storeBytes(of: word, toByteOffset: at, as: UInt64.self)
        }
      default:
        var at = 0
        while at < 4096 {
          let count = min(4096 - at, Int.random(in: 1...300, using: &random))
          let byte = UInt8(truncatingIfNeeded: random.next())
          UnsafeMutableRawBufferPointer(rebasing: page[at..<at + count])
            .initializeMemory(as: UInt8.self, repeating: byte)
          at += count
        }
      }
    }
  }
}

/// A payload that waits to be read.
final class PayloadBytes: PayloadSource {
  struct Exhausted: Error {}
  var bytes: [UInt8] = [] {
    didSet { at = 0 }
  }
  private var at = 0

  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    guard buffer.count <= bytes.count - at else { throw Exhausted() }
    buffer.copyBytes(from: bytes[at..<at + buffer.count])
    at += buffer.count
  }

  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws {
    for piece in pieces {
      // A piece is the backend's or a page, as long as it says: readv(2)'s own rule.
      try read(into: UnsafeMutableRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
    }
  }
}

extension SendChannel {
  /// The payload of the pages at `offsets`.
  func payload(_ memory: Memory, _ offsets: [UInt64], packet: UInt64) throws -> [UInt8] {
    try offsets.withUnsafeBufferPointer { offsets in
      let payload = try prepare(
        host: memory.base, normal: offsets, zero: UnsafeBufferPointer(start: nil, count: 0),
        flags: 0, packetNumber: packet)
      return payload.iov.flatMap {
        Array(UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len))
      }
    }
  }
}

extension ReceiveChannel {
  /// Decodes what waits in `source` into the pages at `offsets`.
  func take(_ source: PayloadBytes, _ memory: Memory, _ offsets: [UInt64], packet: UInt64) throws {
    try offsets.withUnsafeBufferPointer { offsets in
      try receive(
        host: memory.base, normal: offsets, zero: UnsafeBufferPointer(start: nil, count: 0),
        payloadSize: source.bytes.count, flags: 0, packetNumber: packet)
    }
  }
}
