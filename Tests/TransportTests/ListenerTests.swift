import Foundation
import TestSupport
import Testing
import Transport

@Suite("Listeners")
struct ListenerTests {
  @Test("Port 0 becomes a port that can be connected to", arguments: ["127.0.0.1", "localhost"])
  func anyPort(host: String) throws {
    let listener = try Listener(on: .tcp(host: host, port: 0), timeout: 1)
    guard case .tcp(host, let port) = listener.endpoint else {
      Issue.record("\(listener.endpoint)")
      return
    }
    #expect(port > 0)
    _ = try Socket.connect(to: listener.endpoint, timeout: 1)
  }

  @Test("IPv6")
  func ipv6() throws {
    let listener: Listener
    do { listener = try Listener(on: .tcp(host: "::1", port: 0), timeout: 1) } catch {
      SkipReason("this machine has no IPv6 (\(error))").announce("listening on ::1")
      return
    }
    _ = try Socket.connect(to: listener.endpoint, timeout: 1)
  }

  @Test("A listener that accepts nobody is late, not 'in progress'")
  func neverAccepted() throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    var waiting: [Socket] = []
    // The queue fills up; whoever comes then gets no answer.
    let error = #expect(throws: TransportError.self) {
      while waiting.count < 200 {
        waiting.append(
          try Socket.connect(to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 0.3))
      }
    }
    #expect(error?.kind == .unreachable, "\(error.debugDescription)")
    #expect(error?.message.contains("no answer within 0.3 s") == true, "\(error.debugDescription)")
  }

  @Test("A port or a socket file that somebody listens on is taken")
  func taken() throws {
    let folder = try TemporaryFolder()
    let listeners = [
      try Listener(on: .tcp(host: "127.0.0.1", port: 0), timeout: 1),
      try Listener(on: .unix(path: folder("socket")), timeout: 1),
    ]
    for listener in listeners {
      #expect(
        kind { () throws(TransportError) in _ = try Listener(on: listener.endpoint, timeout: 1) }
          == .unreachable)
      // It is still the first one's.
      _ = try Socket.connect(to: listener.endpoint, timeout: 1)
    }
  }

  @Test("A socket file that nobody listens on is replaced, and removed at the end")
  func deadSocket() throws {
    let folder = try TemporaryFolder()
    close(try Connection.listen(unix: folder("socket")))
    #expect(FileManager.default.fileExists(atPath: folder("socket")))
    do {
      let listener = try Listener(on: .unix(path: folder("socket")), timeout: 1)
      _ = try Socket.connect(to: listener.endpoint, timeout: 1)
    }
    #expect(!FileManager.default.fileExists(atPath: folder("socket")))
  }

  @Test("Any other file in the way stays")
  func otherFile() throws {
    let folder = try TemporaryFolder()
    try Data("precious".utf8).write(to: URL(filePath: folder("file")))
    #expect(
      kind { () throws(TransportError) in
        _ = try Listener(on: .unix(path: folder("file")), timeout: 1)
      } == .unreachable)
    #expect(try Data(contentsOf: URL(filePath: folder("file"))) == Data("precious".utf8))
  }
}
