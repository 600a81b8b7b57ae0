import Certificates
import Foundation
import Migration
import PluginLoader
import SessionReplay
import Synchronization
import System
import TestSupport
import Testing
import Transport
import Wire

/// Whose the pages of a packet are: for tests that keep them otherwise.
final class PagesOwner: Sendable {}

/// What is sent is decoded once, behind the sending.
@Suite(
  "Payloads are checked behind the sending",
  .enabled(
    if: MisbehavingBackend.unavailable == nil, "SKIPPED: no backend can be compiled here"))
struct TrailingCheckTests {
  private static let pageSize = 4096
  private static let pages = 64

  /// A channel to a peer, and what its check has said.
  private final class Channel {
    let encoders: PacketEncoders
    let writer: PacketWriter
    let socket: Socket
    let failure = System.Monitor<String?>(nil)
    private let numbers = PacketWriter.Numbers()
    private let plugin: MisbehavingBackend
    private(set) var boxes: Set<ObjectIdentifier> = []

    /// - Parameters:
    ///   - statement: what the backend's receive side does with packets from `at` on.
    ///   - level: of the certificate beside the library; nil: there is none.
    init(
      _ socket: Socket, at: Int, _ statement: String, certifiedAt level: Int? = nil,
      failing: Bool = false, whole: Bool = false
    ) throws {
      let capabilities = "MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC"
      plugin = try MisbehavingBackend(
        "behind", ["AT": "\(at)", "RECV": statement, "CAPABILITIES": capabilities])
      if let level { try Self.certify(plugin.folder, level, failing: failing) }
      let loader = TestBackends.loader(with: plugin.folder)
      let backend = try loader.load(named: "behind")
      self.socket = socket
      let format = OutgoingFormat(
        method: .none, backend: backend, options: try backend.parse([]), loader: loader)
      let (failure, owner) = (failure, PagesOwner())
      encoders = PacketEncoders(
        [format], id: 0, channels: { 1 }, pageSize: TrailingCheckTests.pageSize,
        verification: PacketEncoders.Verification(
          isSample: !whole && format.isProven, pagesOf: owner
        ) { error in
          failure.update { $0 = "\(error)" }
          // As a hand-over does: whoever waits for the peer waits no longer.
          socket.cut()
        })
      writer = PacketWriter(socket, pageSize: TrailingCheckTests.pageSize)
      try writer.begin(MultiFDInit(uuid: .zero, id: 0))
    }

    private static func certify(_ folder: String, _ level: Int, failing: Bool) throws {
      let library = folder + "/libmultifd-behind.so"
      let certificate = Certificate(
        harness: "0", file: "libmultifd-behind.so",
        library: try #require(Fingerprint(of: library)), name: "behind", version: "1.0.0",
        wireFormat: "none/1", date: Certificate.now(),
        machine: Machine(processor: "", processors: 1, kernel: "", libc: ""), level: level,
        isStrict: false, seeds: [1], options: [],
        results: [
          .init(test: "load/opens", outcome: "passed", reason: ""),
          .init(test: "bounds/params", outcome: failing ? "failed" : "passed", reason: ""),
          .init(test: "perf/throughput", outcome: "left out", reason: "--skip"),
        ])
      try certificate.json.write(
        toFile: Certificate.path(beside: library), atomically: true, encoding: .utf8)
    }

    func send() throws {
      let box = encoders.pool.take()
      boxes.insert(ObjectIdentifier(box))
      box.packet.begin(block: 0, named: "pc.ram", host: nil)
      for index in 0..<TrailingCheckTests.pages {
        box.packet.append(normal: UInt64(index * TrailingCheckTests.pageSize))
        box.packet.roomForPlaces[index] = UInt64(index * TrailingCheckTests.pageSize)
      }
      box.packet.lies(elsewhere: box.pages.base)
      box.packet.close(number: numbers.next())
      try encoders.submit(box, to: writer)
    }

    func sync() throws {
      let last = encoders.pool.take()
      try encoders.sync(number: numbers.next(), in: &last.packet, to: writer)
      encoders.pool.put(last)
    }
  }

  /// A connection, and its other end.
  private func connection() throws -> (Socket, far: Int32) {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let socket = try Socket.connect(
      to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 30)
    return (socket, Sockets.accept(listener))
  }

  /// A connection that holds a few kilobytes.
  private func narrowConnection() throws -> (Socket, far: Int32) {
    var ends = [Int32](repeating: -1, count: 2)
    try #require(
      socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
    var size: Int32 = 8192
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    return (try Socket.connect(to: Endpoint(parsing: "fd:\(ends[0])"), timeout: 30), ends[1])
  }

  /// Reads a connection to its end in a thread.
  private func read(_ far: Int32, in threads: ThreadGroup) throws -> System.Monitor<Int> {
    let count = System.Monitor(0)
    try threads.start("far side") {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      while case let got = Sockets.read(far, &bytes), got > 0 { count.update { $0 += got } }
    }
    return count
  }

  private static let packet = 64 * 4096 + MultiFDPacketHeader.size(pageSize: 4096)

  @Test("A SYNC goes out when all before it has been checked, and not if one is wrong")
  func sync() throws {
    let (socket, far) = try connection()
    defer { close(far) }
    let threads = ThreadGroup()
    let heard = try read(far, in: threads)
    let channel = try Channel(
      socket, at: 5, "usleep(50000); ((uint8_t *)p->host)[p->normal[0] + 9] ^= 1;")
    for _ in 0..<5 { try channel.send() }
    do {
      try channel.sync()
      Issue.record("the SYNC was sent")
    } catch { #expect("\(error)".contains("does not survive its own codec")) }
    #expect(channel.failure.read { $0 }?.contains("does not survive") == true)
    socket.finishWriting()
    threads.joinAll()
    // Its packets may be there, its SYNC is not.
    #expect(heard.read { $0 } <= MultiFDInit.size + 5 * Self.packet)
  }

  @Test("All is well: packets go out as they would, and few are kept")
  func good() throws {
    let (socket, far) = try connection()
    defer { close(far) }
    let threads = ThreadGroup()
    let heard = try read(far, in: threads)
    let channel = try Channel(socket, at: 1, "usleep(500);")
    for _ in 0..<50 { try channel.send() }
    try channel.sync()
    #expect(channel.failure.read { $0 } == nil)
    #expect(channel.boxes.count <= 5)
    socket.finishWriting()
    threads.joinAll()
    let header = MultiFDPacketHeader.size(pageSize: Self.pageSize)
    #expect(heard.read { $0 } == MultiFDInit.size + 50 * Self.packet + header)
  }

  /// Why all is decoded, or not.
  enum Grounds: CaseIterable {
    case certified, uncertified, lowLevel, failed, asked

    var isSample: Bool { self == .certified }
  }

  @Test("Of a backend with a certificate a sample is decoded", arguments: Grounds.allCases)
  func sample(_ grounds: Grounds) throws {
    let (socket, far) = try connection()
    defer { close(far) }
    let threads = ThreadGroup()
    _ = try read(far, in: threads)
    // The ninth packet that is decoded: the ninth of all, or the 16th.
    let channel = try Channel(
      socket, at: 9, "((uint8_t *)p->host)[p->normal[0]] ^= 1;",
      certifiedAt: grounds == .uncertified ? nil : grounds == .lowLevel ? 4 : 5,
      failing: grounds == .failed, whole: grounds == .asked)
    for _ in 0..<8 { try channel.send() }
    try channel.encoders.settle(to: channel.writer)
    func sends(_ count: Int) -> Bool {
      do {
        for _ in 0..<count { try channel.send() }
        try channel.encoders.settle(to: channel.writer)
        return true
      } catch { return false }
    }
    #expect(sends(7) == grounds.isSample)
    if grounds.isSample { #expect(!sends(1)) }
    socket.cut()
    threads.joinAll()
  }

  @Test("What is wrong is heard of while the peer reads nothing")
  func blocked() throws {
    let (socket, far) = try narrowConnection()
    defer { close(far) }
    let channel = try Channel(
      socket, at: 1, "usleep(300000); ((uint8_t *)p->host)[p->normal[0]] ^= 1;")
    // The first packet is more than sockets hold here.
    #expect(throws: TransportError.self) { try channel.send() }
    let heard = channel.failure.wait(seconds: 10) { $0 }
    #expect(heard?.contains("does not survive") == true)
  }

  @Test("A check that is inside a backend which does not come back is left behind")
  func hangs() throws {
    let (socket, far) = try connection()
    defer { close(far) }
    let threads = ThreadGroup()
    _ = try read(far, in: threads)
    do {
      let channel = try Channel(socket, at: 1, "hang();")
      try channel.send()
    }
    socket.cut()
    threads.joinAll()
  }
}
