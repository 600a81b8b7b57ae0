import Foundation
import TestSupport
import Testing
import Transport

@Suite("Input buffer")
struct InputBufferTests {
  @Test("Whatever is required, consumed and taken, bytes come once and in order", arguments: 0..<8)
  func random(seed: UInt64) throws {
    let connection = try Connection(seed % 2 == 0 ? .tcp : .unix)
    let data = (0..<400_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
    let peer = connection.peer
    Thread.detachNewThread {
      var generator = SeededGenerator(seed: seed &+ 100)
      var rest = data[...]
      while !rest.isEmpty {
        let count = Int.random(in: 1...20_000, using: &generator)
        Sockets.write(peer, rest.prefix(count))
        rest = rest.dropFirst(count)
      }
      shutdown(peer, Int32(SHUT_WR))
    }
    var generator = SeededGenerator(seed: seed)
    // Small at first: it has to grow, and to move what is left to its front.
    var input = InputBuffer(connection.socket, capacity: 64)
    var at = 0
    while at < data.count {
      let left = data.count - at
      switch Int.random(in: 0..<3, using: &generator) {
      case 0:
        let count = min(left, Int.random(in: 1...5000, using: &generator))
        #expect(try input.require(count, idle: false))
        #expect(input.bytes.count >= count)
        #expect(input.bytes.elementsEqual(data[at..<at + input.bytes.count]))
      case 1:
        let count = Int.random(in: 0...input.bytes.count, using: &generator)
        input.consume(count)
        at += count
      default:
        let count = min(left, Int.random(in: 0...9000, using: &generator))
        var taken = [UInt8](repeating: 0, count: count)
        if count > 0 { try taken.withUnsafeMutableBytes { try input.take(into: $0) } }
        #expect(taken.elementsEqual(data[at..<at + count]))
        at += count
      }
    }
    #expect(input.bytes.isEmpty)
    #expect(try !input.require(1, idle: false), "the end of the stream")
  }

  @Test("At the end, what is left stays")
  func end() throws {
    let connection = try Connection(.tcp)
    connection.send([1, 2, 3])
    connection.closePeer()
    var input = InputBuffer(connection.socket, capacity: 16)
    #expect(try !input.require(4, idle: false))
    #expect(Array(input.bytes) == [1, 2, 3])
    #expect(try input.require(2, idle: false))
    input.consume(2)
    #expect(Array(input.bytes) == [3])
    let page = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
    defer { page.deallocate() }
    var failure: TransportError.Kind?
    do { try input.take(into: page) } catch { failure = error.kind }
    #expect(failure == .closed)
    #expect(page[0] == 3)
  }

  @Test("The peer may be idle only while there is nothing in the buffer")
  func idle() throws {
    let connection = try Connection(.tcp, timeout: 0.05)
    let peer = connection.peer
    var input = InputBuffer(connection.socket, capacity: 16)
    later(0.2) { Sockets.write(peer, [1]) }
    #expect(try input.require(1, idle: true))
    var failure: TransportError.Kind?
    do { _ = try input.require(2, idle: true) } catch { failure = error.kind }
    #expect(failure == .timedOut)
    #expect(Array(input.bytes) == [1], "nothing is lost by it")
    connection.send([2])
    #expect(try input.require(2, idle: false))
    #expect(Array(input.bytes) == [1, 2])
  }
}
