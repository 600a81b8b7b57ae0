import Foundation
import Synchronization
import System
import TestSupport
import Testing
import Transport

@Suite("Sockets")
struct SocketTests {
  @Test(
    "Filling takes what comes in pieces, and tells a proper end from a broken one",
    arguments: Connection.Kind.allCases)
  func fill(over: Connection.Kind) throws {
    let connection = try Connection(over)
    let data = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let peer = connection.peer
    Thread.detachNewThread {
      var generator = SeededGenerator(seed: 1)
      var rest = data[...]
      while !rest.isEmpty {
        let count = Int.random(in: 1...7001, using: &generator)
        Sockets.write(peer, rest.prefix(count))
        rest = rest.dropFirst(count)
      }
      shutdown(peer, Int32(SHUT_WR))
    }
    #expect(try connection.socket.bytes(0) == [])
    #expect(try connection.socket.bytes(1) == [data[0]])
    #expect(try connection.socket.bytes(65_537) == Array(data[1..<65_538]))
    #expect(try connection.socket.bytes(34_460) == Array(data[65_538..<99_998]))
    do {
      _ = try connection.socket.bytes(8)
      Issue.record("two bytes filled eight")
    } catch {
      #expect(error.kind == .closed && error.message.contains("after 2 of 8 bytes"))
    }
    #expect(try connection.socket.bytes(8) == nil)
  }

  @Test(
    "Silence before the first byte is a time-out, unless the peer may be idle",
    arguments: Connection.Kind.allCases)
  func idle(over: Connection.Kind) throws {
    let connection = try Connection(over, timeout: 0.05)
    #expect(kind { () throws(TransportError) in _ = try connection.socket.bytes(4) } == .timedOut)
    let peer = connection.peer
    later(0.3) { Sockets.write(peer, [1, 2, 3, 4]) }
    #expect(try connection.socket.bytes(4, idle: true) == [1, 2, 3, 4])
    // Idleness ends with the first byte.
    later(0.2) { Sockets.write(peer, [5]) }
    #expect(
      kind { () throws(TransportError) in _ = try connection.socket.bytes(4, idle: true) }
        == .timedOut)
  }

  @Test("Silence inside pieces is a time-out, an end there a broken connection")
  func brokenPieces() throws {
    for ends in [false, true] {
      let connection = try Connection(.tcp, timeout: 0.1)
      connection.send([1, 2, 3])
      if ends { connection.closePeer() }
      let memory = Memory([2, 2])
      #expect(
        kind { () throws(TransportError) in try memory.fill(from: connection.socket) }
          == (ends ? .closed : .timedOut))
    }
  }

  @Test(
    "Thousands of pieces, more than one system call takes, some of them empty",
    arguments: Connection.Kind.allCases)
  func pieces(over: Connection.Kind) throws {
    var generator = SeededGenerator(seed: 9)
    let sizes = (0..<5000).map { index in
      index % 97 == 0 ? 0 : Int.random(in: 1...400, using: &generator)
    }
    let data = (0..<sizes.reduce(0, +)).map { _ in UInt8.random(in: 0...255, using: &generator) }
    let connection = try Connection(over)
    let (socket, peer) = (connection.socket, connection.peer)
    // Small buffers: calls end in the middle of pieces.
    for option in [SO_SNDBUF, SO_RCVBUF] {
      var size: Int32 = 20_000
      setsockopt(peer, SOL_SOCKET, option, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    Thread.detachNewThread {
      let source = Memory(sizes, data)
      do { try source.write(to: socket) } catch { Issue.record(error) }
    }
    #expect(connection.receive(data.count) == data)

    Thread.detachNewThread { Sockets.write(peer, data) }
    let target = Memory(sizes)
    try target.fill(from: socket)
    #expect(target.bytes == data)
  }

  @Test("Pieces without a byte in them ask for nothing")
  func emptyPieces() throws {
    let connection = try Connection(.tcp, timeout: 0.1)
    for sizes in [[], [0], [0, 0, 0]] {
      try Memory(sizes).fill(from: connection.socket)
      try Memory(sizes).write(to: connection.socket)
    }
    connection.send([7])
    let memory = Memory([0, 0, 1, 0])
    try memory.fill(from: connection.socket)
    #expect(memory.bytes == [7])
    let many = Memory([Int](repeating: 0, count: 2000) + [1])
    connection.send([8])
    try many.fill(from: connection.socket)
    #expect(many.bytes == [8])
  }

  @Test("Who is let finish has so much time in all, however little he says at a time")
  func drip() throws {
    let connection = try Connection(.tcp)
    let peer = connection.peer
    let isOver = Atomic(false)
    let threads = ThreadGroup()
    try threads.start("drip") {
      for _ in 0..<200 where !isOver.load(ordering: .relaxed) {
        Sockets.write(peer, [1])
        usleep(20_000)
      }
      // As long as that, where nobody else ends it.
      if !isOver.load(ordering: .relaxed) { Issue.record("it is still read") }
    }
    connection.socket.drain(seconds: 0.2)
    isOver.store(true, ordering: .relaxed)
    threads.joinAll()
    connection.closePeer()
    // It has ended: at once.
    connection.socket.drain(seconds: 1000)
  }

  @Test("What was written has arrived, or it is not known that it has")
  func taken() throws {
    let tcp = try Connection(.tcp)
    try tcp.socket.write([1, 2, 3])
    try tcp.socket.awaitTaken(seconds: 20)
    // Of a UNIX socket: when it was read.
    let unix = try Connection(.unix)
    try unix.socket.write([1, 2, 3])
    #expect(
      kind { () throws(TransportError) in try unix.socket.awaitTaken(seconds: 0.05) } == .timedOut)
    #expect(
      kind { () throws(TransportError) in try unix.socket.awaitTaken(seconds: 20) { true } }
        == .timedOut)
    #expect(unix.receive(3) == [1, 2, 3])
    try unix.socket.awaitTaken(seconds: 20)
    try unix.socket.write([4])
    unix.closePeer()
    #expect(
      kind { () throws(TransportError) in try unix.socket.awaitTaken(seconds: 20) } == .reset)
  }

  @Test("What waits for a window has not arrived, and a reset says that it never will")
  func window() throws {
    let connection = try Connection(.tcp)
    let socket = connection.socket
    try socket.write([UInt8](repeating: 7, count: 400_000))
    #expect(kind { () throws(TransportError) in try socket.awaitTaken(seconds: 0.05) } == .timedOut)
    // Closing with what is unread is a reset.
    connection.closePeer()
    #expect(kind { () throws(TransportError) in try socket.awaitTaken(seconds: 20) } == .reset)
  }

  @Test("Writing sends everything, also to a slow reader", arguments: Connection.Kind.allCases)
  func write(over: Connection.Kind) throws {
    let connection = try Connection(over)
    let socket = connection.socket
    let data = (0..<3_000_001).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    Thread.detachNewThread {
      do { try socket.write(data) } catch { Issue.record(error) }
      socket.finishWriting()
    }
    #expect(connection.receive(data.count + 1) == data)
    connection.send([1, 2])
    #expect(try socket.bytes(2) == [1, 2], "the other direction stays open")
  }

  @Test("A peer that does not read is a time-out, one that is gone a closed connection")
  func stuckWriter() throws {
    let stuck = try Connection(.unix, timeout: 0.1)
    let data = [UInt8](repeating: 0, count: 64 << 20)
    #expect(kind { () throws(TransportError) in try stuck.socket.write(data) } == .timedOut)
    let gone = try Connection(.unix)
    gone.closePeer()
    #expect(kind { () throws(TransportError) in try gone.socket.write([1]) } == .closed)
  }

  @Test(
    "Cutting from another thread ends a read that waits for ever",
    arguments: Connection.Kind.allCases)
  func cutReader(over: Connection.Kind) throws {
    let connection = try Connection(over, timeout: 1000)
    let socket = connection.socket
    later(0.1) { socket.cut() }
    #expect(try socket.bytes(4, idle: true) == nil)
    #expect(connection.receive(1) == [], "the peer sees the end too")
    #expect(kind { () throws(TransportError) in try socket.write([1]) } == .closed)
  }

  @Test("Cutting from another thread ends a write that is stuck")
  func cutWriter() throws {
    let connection = try Connection(.unix, timeout: 1000)
    let socket = connection.socket
    later(0.1) { socket.cut() }
    let data = [UInt8](repeating: 0, count: 64 << 20)
    #expect(kind { () throws(TransportError) in try socket.write(data) } == .closed)
  }

  @Test("Cutting the reading side leaves the writing side", arguments: Connection.Kind.allCases)
  func cutReading(over: Connection.Kind) throws {
    let connection = try Connection(over, timeout: 1000)
    let socket = connection.socket
    later(0.1) { socket.cutReading() }
    #expect(try socket.bytes(4, idle: true) == nil)
    try socket.write([9, 8, 7])
    #expect(connection.receive(3) == [9, 8, 7])
  }

  @Test("Draining ends with the peer's close, or with its silence")
  func drain() throws {
    let closing = try Connection(.tcp)
    closing.send([UInt8](repeating: 1, count: 300_000))
    closing.closePeer()
    closing.socket.drain(seconds: 1000)
    #expect(try closing.socket.bytes(1) == nil)
    let silent = try Connection(.tcp, timeout: 1000)
    silent.send([1])
    silent.socket.drain(seconds: 0.05)
    silent.send([2])
    #expect(try silent.socket.bytes(1) == [2], "the first byte was thrown away")
  }

  @Test("Nobody there")
  func unreachable() throws {
    let folder = try TemporaryFolder()
    let port = try Sockets.freePort()
    for endpoint in [
      Endpoint.tcp(host: "127.0.0.1", port: UInt16(port)), .unix(path: folder("nothing")),
    ] {
      do {
        _ = try Socket.connect(to: endpoint, timeout: 1)
        Issue.record("connected to \(endpoint)")
      } catch {
        #expect(error.kind == .unreachable && error.message.contains("\(endpoint)"))
      }
    }
  }

  /// Pieces of memory, one after the other.
  private final class Memory {
    private let pieces: UnsafeMutableBufferPointer<iovec>
    private let memory: UnsafeMutableRawBufferPointer

    init(_ sizes: [Int], _ contents: [UInt8] = []) {
      // Allocated here, freed in deinit; each piece lies inside.
      memory = .allocate(byteCount: max(sizes.reduce(0, +), 1), alignment: 8)
      if !contents.isEmpty { memory.copyBytes(from: contents) }
      pieces = .allocate(capacity: sizes.count)
      var at = 0
      for (index, size) in sizes.enumerated() {
        pieces.initializeElement(
          at: index, to: iovec(iov_base: memory.baseAddress! + at, iov_len: size))
        at += size
      }
      count = (sizes.count, at)
    }

    private let count: (pieces: Int, bytes: Int)

    deinit {
      memory.deallocate()
      pieces.deallocate()
    }

    // The memory lives until the call has returned.
    func fill(from socket: Socket) throws(TransportError) {
      defer { withExtendedLifetime(self) {} }
      try socket.fill(pieces: pieces)
    }

    func write(to socket: Socket) throws(TransportError) {
      defer { withExtendedLifetime(self) {} }
      try socket.write(pieces: pieces)
    }

    var bytes: [UInt8] { Array(memory.prefix(count.bytes)) }
  }

  @Test("An error of this machine's says nothing about the peer")
  func local() throws {
    for over in Connection.Kind.allCases {
      let connection = try Connection(over)
      connection.send([1, 2, 3])
      // Nothing is mapped in the first page.
      let nowhere = UnsafeMutableRawBufferPointer(start: .init(bitPattern: 16), count: 3)
      #expect(
        kind { () throws(TransportError) in
          _ = try connection.socket.read(into: nowhere, idle: false)
        }
          == .local)
      #expect(
        kind { () throws(TransportError) in
          try connection.socket.write(UnsafeRawBufferPointer(nowhere))
        }
          == .local)
    }
  }

  @Test("The peer's end shows behind unread bytes, and where it cannot, that is told")
  func end() throws {
    for over in Connection.Kind.allCases {
      let connection = try Connection(over)
      #expect(connection.socket.end == .quiet)
      connection.send([1, 2, 3])
      #expect(connection.socket.end == .quiet, "three bytes hide nothing")
      connection.closePeer()
      while connection.socket.end == .quiet { usleep(1000) }
      #expect(connection.socket.end == .ended)
      // As much as goes in: where data are under way still, so may be the end.
      let full = try Connection(over)
      Sockets.limit(full.peer, seconds: 0.2)
      let piece = [UInt8](repeating: 7, count: 1 << 16)
      while Glibc.send(full.peer, piece, piece.count, Int32(MSG_NOSIGNAL)) > 0 {}
      #expect(full.socket.end == (over == .unix ? .quiet : .unread))
    }
  }
}
