import Glibc
import Migration
import TestSupport
import Testing
import Transport
import Wire

@Suite("What a destination answers")
struct ReturnPathReaderTests {
  @Test("Half an answer is waited for no longer than a whole one, and is not lost")
  func half() throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let socket = try Socket.connect(to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 1000)
    let peer = Sockets.accept(listener)
    var reader = ReturnPathReader(socket)
    let pong = ReturnPathMessage.pong(7).encode()
    Sockets.write(peer, pong.prefix(5))
    #expect(try !reader.hearsPong(7, within: 0.05))
    #expect(try !reader.hearsPong(7, within: 0))
    Sockets.write(peer, pong.dropFirst(5))
    #expect(try reader.hearsPong(7, within: 20))
    close(peer)
    #expect(throws: TransportError.self) { try reader.hearsPong(8, within: 20) }
  }
}
