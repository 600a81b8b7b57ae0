import PluginLoader
import Synchronization
import Testing

/// The receive side: the services, the checks around them, and whose fault a failure is.
@Suite("Receiving", .compiler)
struct ReceiveTests {
  let backend: Backend

  init() throws { backend = try OptionTests.sample() }

  @Test("payload lands in its pages and nowhere else", arguments: ["plain", "read-in-pieces"])
  func lands(_ act: String) throws {
    let receiver = try Receiver(backend, act: act)
    try receiver.receive([0x3000, 0x1000], zero: [0x5000])
    #expect(receiver.source.given == 8192)
    for (offset, byte) in receiver.block.enumerated() {
      let page = offset / 4096
      if page == 1 || page == 3 {
        // The first page of the payload goes to 0x3000.
        let position = offset % 4096 + (page == 1 ? 4096 : 0)
        if byte != UInt8(truncatingIfNeeded: position) { Issue.record("byte \(offset) is \(byte)") }
      } else if byte != 0xee {
        Issue.record("byte \(offset) was touched")
      }
    }
    try receiver.receive([0x2000])
    #expect(receiver.source.given == 3 * 4096)
  }

  @Test("a packet without pages is not the backend's business, one with zero pages is")
  func noPages() throws {
    let receiver = try Receiver(backend, act: "plain")
    try receiver.receive([])
    #expect(try counts(backend)[4] == 0)
    try receiver.receive([], zero: [0x1000])
    #expect(try counts(backend)[4] == 1)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let kind: PluginError.Kind
    let says: String

    init(_ act: String, _ kind: PluginError.Kind, _ says: String) {
      testDescription = act
      self.kind = kind
      self.says = says
    }
  }

  @Test(
    "a failure is told with its kind, place and text",
    arguments: [
      Case(
        "over-read", .corrupt,
        "payload byte 8192 of 8192: the payload ends too early: 1 bytes are wanted, 0"),
      Case("over-read-ok", .corrupt, "ends too early"),
      Case("huge-piece", .corrupt, "payload ends too early"),
      Case("under-read", .internalFault, "recv() left 5 of 8192 payload bytes unread"),
      Case("corrupt", .corrupt, "payload byte 0 of 8192: bad code 7"),
      Case("corrupt-silent", .corrupt, "not what sample can decode"),
      Case("internal", .internalFault, "packet_num 17: device reset"),
      Case("odd-status", .internalFault, "recv() returned 77 and gave no reason"),
      Case("blame-channel", .internalFault, "blames the channel, which is well"),
      Case("null-read", .internalFault, "calls read() without memory"),
      Case("null-piece", .internalFault, "calls readv() without memory"),
    ])
  func failures(_ bad: Case) throws {
    let receiver = try Receiver(backend, act: bad.testDescription)
    let error = try #require(receiver.error())
    #expect(error.kind == bad.kind)
    #expect(error.what.hasPrefix("sample, channel 1, packet_num 17"))
    #expect(error.description.contains(bad.says), "\(error)")
    #expect(receiver.source.given <= 8192)

    // It is over: the state of a stream that failed is worth nothing.
    let again = try #require(receiver.error())
    #expect(again.why == "has failed before and can only be closed")
  }

  @Test("what the source throws is what comes out")
  func source() throws {
    let receiver = try Receiver(backend, act: "read-in-pieces")
    receiver.source.failsAfter = 5000
    #expect(throws: CountingSource.Broken()) { try receiver.receive([0x1000, 0x3000]) }
    #expect(receiver.source.given == 4096)
  }

  @Test("a second call while one is running is refused, and so is closing under it")
  func overlap() throws {
    let receiver = try Receiver(backend, act: "read-in-pieces")
    var seen: [String?] = []
    receiver.source.during = { [unowned receiver] in
      seen.append(receiver.error()?.why)
      receiver.channel.close()
      receiver.source.during = nil
    }
    try receiver.receive([0x1000])
    #expect(seen == ["is used by two threads at once"])
    #expect(try counts(backend)[3] == 0)
    try receiver.receive([0x1000])
  }

  @Test("sizes that cannot be are refused before the backend sees them")
  func sizes() throws {
    let cases: [([UInt64], Int, String)] = [
      ([0x1000], 8 * 4096 + 1, "is more than the 32768 that can be"),
      ([0x1000], -1, "is more than"), ([], 1, "1 bytes of payload come with no pages"),
      (Array(repeating: 0, count: 9), 100, "9 pages are more than the 8 of a packet"),
    ]
    for (normal, size, says) in cases {
      let receiver = try Receiver(backend, act: "plain")
      let error = try #require(throws: PluginError.self) {
        try receiver.receive(normal, size: size)
      }
      #expect(error.kind == .corrupt)
      #expect(error.why.contains(says), "\(error)")
      #expect(receiver.source.given == 0)
    }
    #expect(try counts(backend)[4] == 0)
  }

  @Test("a payload that ends early is the peer's fault, without a byte read")
  func short() throws {
    let receiver = try Receiver(backend, act: "plain")
    let error = try #require(receiver.error(size: 8191))
    #expect(error.kind == .corrupt)
    #expect(error.why.contains("8192 bytes are wanted, 8191 are left"))
    #expect(receiver.source.given == 0)
  }

  @Test(
    "a failed setup is told, and cleaned up exactly once",
    arguments: [
      Case("setup-fails", .internalFault, "the device is busy"),
      Case("setup-unsupported", .setup, "does not support these sizes"),
      Case("setup-option", .options, "level 3 and label abc do not go together"),
      Case("huge-alloc", .noMemory, "no memory for sample"),
      Case("read-in-setup", .internalFault, "reads outside recv()"),
    ])
  func setups(_ bad: Case) throws {
    for side in ["receiver", "sender"] {
      let before = try counts(backend)
      let error = try #require(throws: PluginError.self) {
        if side == "receiver" {
          _ = try Receiver(backend, act: bad.testDescription)
        } else {
          _ = try Sender(backend, act: bad.testDescription)
        }
      }
      #expect(error.kind == bad.kind)
      #expect(error.what == "sample, channel 1")
      #expect(error.why.contains(bad.says), "\(error)")
      let after = try counts(backend)
      let first = side == "receiver" ? 2 : 0
      #expect(after[first] == before[first] + 1)
      #expect(after[first + 1] == before[first + 1] + 1, "cleanup is due once")
    }
  }

  @Test("cleanup happens once, at close or at the end of its life")
  func cleanup() throws {
    do {
      let receiver = try Receiver(backend, act: "plain")
      #expect(receiver.channel.allocatedBytes == 100)
      receiver.channel.close()
      receiver.channel.close()
      #expect(try counts(backend)[3] == 1)
      #expect(receiver.channel.allocatedBytes == 0)
      let error = try #require(receiver.error())
      #expect(error.why == "is closed")
    }
    #expect(try counts(backend)[3] == 1)
    do { _ = try Receiver(backend, act: "plain") }
    #expect(try counts(backend)[3] == 2)
    #expect(try counts(backend)[2] == 2)
  }

  @Test("memory is given up to the limit")
  func memory() throws {
    #expect(throws: PluginError.self) { try Receiver(backend, act: "plain", memoryLimit: 99) }
    let receiver = try Receiver(backend, act: "allocs", memoryLimit: 2500)
    for expected in [1100, 2100, 2100] {
      try receiver.receive([0x1000])
      #expect(receiver.channel.allocatedBytes == expected)
    }
  }

  @Test("log lines arrive, fit for a terminal")
  func log() throws {
    let lines = Mutex<[String]>([])
    _ = try Receiver(backend, act: "logs") { level, line in
      lines.withLock { $0.append("\(level): \(line)") }
    }
    #expect(lines.withLock { $0 } == ["info: level is fine"])
  }

  @Test(
    "sizes of a channel that cannot be are refused without asking the backend",
    arguments: [
      (-1, 2, 4096, 8), (2, 2, 4096, 8), (0, 0, 4096, 8), (0, 1, 4095, 8), (0, 1, 2048, 8),
      (0, 1, 6144, 8), (0, 1, 1 << 31, 8), (0, 1, 0, 8), (0, 1, 4096, 0), (0, 1, 4096, -1),
      (0, 1, 4096, Int.max), (0, 1, 1 << 30, 8),
    ])
  func geometry(_ id: Int, _ channels: Int, _ pageSize: Int, _ pageCount: Int) throws {
    let options = try backend.parse([])
    let error = try #require(throws: PluginError.self) {
      try backend.makeReceiver(
        id: id, channels: channels, pageSize: pageSize, pageCount: pageCount, options: options,
        source: CountingSource())
    }
    #expect(error.kind == .setup)
    #expect(try counts(backend)[2] == 0)
  }

  @Test("options of another backend are refused")
  func foreign() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, name: "other")
    let other = try loader(folder.path).load(named: "other")
    let options = try other.parse([])
    let error = try #require(throws: PluginError.self) {
      try backend.makeSender(id: 0, channels: 1, pageSize: 4096, pageCount: 8, options: options)
    }
    #expect(error.why == "was given the options of other")
  }

  @Test("options of a namesake are refused as well: its table may be another")
  func namesake() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["VERSION": "\"2\""])
    let other = try loader(folder.path).load(named: "sample")
    #expect(other.name == backend.name && other.options.count == backend.options.count)
    let error = try #require(throws: PluginError.self) {
      try backend.makeReceiver(
        id: 0, channels: 1, pageSize: 4096, pageCount: 8, options: other.parse([]),
        source: CountingSource())
    }
    #expect(error.kind == .internalFault && error.why.contains("another sample"), "\(error)")
    #expect(error.hint?.contains(folder.path) == true)
    // The same file by way of another loader is the same backend.
    let same = try loader("/none", folder.path).load(named: "sample")
    _ = try other.makeSender(
      id: 0, channels: 1, pageSize: 4096, pageCount: 8, options: same.parse([]))
  }
}
