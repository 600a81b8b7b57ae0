import PluginAPI
import PluginLoader
import Testing

/// A block of pages and one channel that reads it.
final class Sender {
  let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 4096, alignment: 4096)
  let channel: SendChannel

  init(_ backend: Backend, act: String, inputMayChange: Bool = true) throws {
    for page in 0..<16 {
      UnsafeMutableRawBufferPointer(rebasing: block[page * 4096..<(page + 1) * 4096])
        .initializeMemory(as: UInt8.self, repeating: UInt8(page))
    }
    channel = try backend.makeSender(
      id: 1, channels: 2, pageSize: 4096, pageCount: 8, options: backend.parse([("act", act)]),
      inputMayChange: inputMayChange, memoryLimit: 1 << 20)
  }

  deinit { block.deallocate() }

  /// The payload of some pages, joined; `before` runs between encoding and joining.
  func send(
    _ normal: [UInt64], zero: [UInt64] = [], before: () -> Void = {}
  ) throws(PluginError) -> [UInt8] {
    let result = normal.withUnsafeBufferPointer { normal in
      zero.withUnsafeBufferPointer { zero in
        Result { () throws(PluginError) in
          try channel.prepare(
            host: block.baseAddress!, normal: normal, zero: zero, flags: 0, packetNumber: 9)
        }
      }
    }
    let payload = try result.get()
    before()
    var bytes: [UInt8] = []
    // Valid until the next prepare() of this channel.
    for piece in payload.iov {
      bytes += UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len)
    }
    #expect(bytes.count == payload.size)
    return bytes
  }
}

/// The send side: what a backend returns is checked before a byte of it is sent.
@Suite("Sending", .compiler)
struct SendTests {
  let backend: Backend

  init() throws { backend = try OptionTests.sample() }

  private func pages(_ values: UInt8...) -> [UInt8] {
    values.flatMap { Array(repeating: $0, count: 4096) }
  }

  @Test("pages come out in their order")
  func order() throws {
    let sender = try Sender(backend, act: "plain")
    #expect(try sender.send([0x3000, 0x1000], zero: [0x5000]) == pages(3, 1))
    #expect(try sender.send([0xf000]) == pages(15))
  }

  @Test("a packet without pages is empty; the backend hears of zero pages only")
  func empty() throws {
    let sender = try Sender(backend, act: "plain")
    #expect(try sender.send([]).isEmpty)
    #expect(try counts(backend)[5] == 0)
    #expect(try sender.send([], zero: [0x1000]).isEmpty)
    #expect(try counts(backend)[5] == 1)
  }

  @Test(
    "what does not add up is the backend's fault",
    arguments: [
      ("many-pieces", "returned 25 pieces, the array has fewer"),
      ("wrong-sum", "pieces of 8192 bytes and a payload of 8191"),
      ("over-bound", "returned 8193 bytes for 2 pages, its bound is 8192"),
      ("no-bytes", "returned no byte of payload for 2 pages"),
      ("replace-iov", "replaced the host's iov"), ("null-base", "returned pieces of"),
      ("overflow-sum", "returned pieces of"), ("send-fails", "cannot encode"),
      ("read-in-send", "reads outside recv()"),
    ])
  func faults(_ act: String, _ says: String) throws {
    let sender = try Sender(backend, act: act)
    let error = try #require(throws: PluginError.self) { _ = try sender.send([0x1000, 0x2000]) }
    #expect(error.kind == .internalFault)
    #expect(error.what == "sample, channel 1, packet_num 9")
    #expect(error.why.contains(says), "\(error.why)")
    let again = try #require(throws: PluginError.self) { _ = try sender.send([0x1000]) }
    #expect(again.why == "has failed before and can only be closed")
  }

  @Test("a QEMU format stays within what a stock QEMU receives, whatever the packet")
  func qemu() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["QEMU": "0u", "FORMAT": "\"none/1\""])
    let backend = try loader(folder.path).load(named: "sample")
    let channel = try backend.makeSender(
      id: 0, channels: 1, pageSize: 1 << 20, pageCount: 2, options: backend.parse([]))
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 << 20, alignment: 4096)
    defer { block.deallocate() }
    block.initializeMemory(as: UInt8.self, repeating: 1)
    func send(_ normal: [UInt64]) throws -> Int {
      try normal.withUnsafeBufferPointer { normal in
        try channel.prepare(
          host: block.baseAddress!, normal: normal, zero: UnsafeBufferPointer(start: nil, count: 0),
          flags: 0, packetNumber: 0
        ).size
      }
    }
    #expect(try send([0]) == 1 << 20)
    let error = try #require(throws: PluginError.self) { _ = try send([0, 1 << 20]) }
    #expect(error.why.contains("a stock QEMU receives at most 1048576"))
  }

  @Test("pages that may change are copied for a backend that needs them to hold still")
  func stable() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["CAPS": "(2u | 8u)"])
    let still = try loader(folder.path).load(named: "sample")
    for (backend, mayChange, copied) in [
      (still, true, true), (still, false, false), (backend, true, false),
    ] {
      let sender = try Sender(backend, act: "plain", inputMayChange: mayChange)
      let bytes = try sender.send([0x3000, 0x1000]) {
        sender.block.initializeMemory(as: UInt8.self, repeating: 0x99)
      }
      #expect(bytes == (copied ? pages(3, 1) : pages(0x99, 0x99)))
      sender.block.initializeMemory(as: UInt8.self, repeating: 7)
      #expect(try sender.send([0x2000]) == pages(7))
    }
  }

  @Test("more pages than a packet has are refused")
  func tooMany() throws {
    let sender = try Sender(backend, act: "plain")
    let error = try #require(throws: PluginError.self) {
      _ = try sender.send(Array(repeating: 0, count: 9))
    }
    #expect(error.why.contains("a packet has 8"))
    #expect(try counts(backend)[5] == 0)
  }

  @Test("cleanup happens once")
  func cleanup() throws {
    do {
      let sender = try Sender(backend, act: "plain")
      #expect(sender.channel.allocatedBytes == 100)
      sender.channel.close()
      sender.channel.close()
      let error = try #require(throws: PluginError.self) { _ = try sender.send([0x1000]) }
      #expect(error.why == "is closed")
    }
    #expect(try Array(counts(backend)[..<2]) == [1, 1])
  }
}
