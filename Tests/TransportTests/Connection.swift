// Transport's tests: URIs, sockets that are slow, silent or cut, the lobby, the buffer in front of
// a decoder.

import Foundation
import TestSupport
import Testing
import Transport

/// A `Socket` and the plain descriptor at its other end.
final class Connection {
  /// Over what.
  enum Kind: CaseIterable { case tcp, unix }

  let socket: Socket
  private(set) var peer: Int32

  init(_ kind: Kind, timeout: Double = 10) throws {
    switch kind {
    case .tcp:
      let (listener, port) = try Sockets.listen()
      defer { close(listener) }
      socket = try Socket.connect(
        to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: timeout)
      peer = Sockets.accept(listener)
    case .unix:
      let folder = try TemporaryFolder()
      let listener = try Sockets.listen(unix: folder("socket"))
      defer { close(listener) }
      socket = try Socket.connect(to: .unix(path: folder("socket")), timeout: timeout)
      peer = Sockets.accept(listener)
    }
    try #require(peer >= 0)
  }

  deinit { closePeer() }

  /// Writes at the other end.
  func send(_ bytes: [UInt8]) { Sockets.write(peer, bytes) }

  /// Reads `count` bytes at the other end, or as many as come before the end.
  func receive(_ count: Int) -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      var buffer = [UInt8](repeating: 0, count: min(count - all.count, 1 << 16))
      let got = Sockets.read(peer, &buffer)
      if got == 0 { break }
      all += buffer.prefix(got)
    }
    return all
  }

  func closePeer() {
    if peer >= 0 { close(peer) }
    peer = -1
  }
}

/// What kind of error `body` throws; nil when it throws none.
func kind(_ body: () throws(TransportError) -> Void) -> TransportError.Kind? {
  do {
    try body()
    return nil
  } catch { return error.kind }
}

extension Socket {
  /// Fills an array.
  func bytes(_ count: Int, idle: Bool = false) throws(TransportError) -> [UInt8]? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
    defer { buffer.deallocate() }
    return try fill(buffer, idle: idle) ? Array(buffer) : nil
  }
}

/// Runs `body` in a thread of its own after a while.
func later(_ seconds: Double, _ body: @escaping @Sendable () -> Void) {
  Thread.detachNewThread {
    Thread.sleep(forTimeInterval: seconds)
    body()
  }
}
