import Foundation
import System
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

  @Test("IPv6: what it says can be connected to", arguments: ["tcp:[::1]:0", "tcp:[::]:0"])
  func ipv6(uri: String) throws {
    let listener: Listener
    do { listener = try Listener(on: Endpoint(parsing: uri), timeout: 1, insecure: true) } catch {
      SkipReason("this machine has no IPv6 (\(error))").announce("listening on \(uri)")
      return
    }
    guard case .tcp(let host, let port) = listener.endpoint else {
      Issue.record("\(listener.endpoint)")
      return
    }
    #expect(port > 0 && "\(listener.endpoint)" == uri.dropLast() + "\(port)")
    let socket = try Socket.connect(
      to: Endpoint(parsing: "\(listener.endpoint)"), timeout: 1)
    #expect(socket.peer == "\(listener.endpoint)")
    // All addresses are those of IPv4 too.
    if host == "::" {
      _ = try Socket.connect(to: .tcp(host: "127.0.0.1", port: port), timeout: 1)
    }
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
    try Sockets.leave(at: folder("socket"))
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

  // MARK: Socket files

  @Test("Whoever listens at a path is not disturbed by somebody who would like to, however busy")
  func live() throws {
    let folder = try TemporaryFolder()
    let path = folder("socket")
    let live = try Sockets.listen(unix: path)
    defer { close(live) }
    _ = fcntl(live, F_SETFL, O_NONBLOCK)
    var waiting: [Int32] = []
    defer { for socket in waiting { close(socket) } }
    for isBusy in [false, true] {
      if isBusy { while let socket = Self.connectNow(path) { waiting.append(socket) } }
      #expect(
        kind { () throws(TransportError) in _ = try Listener(on: .unix(path: path), timeout: 1) }
          == .unreachable)
      if !isBusy { #expect(accept(live, nil, nil) < 0, "nobody has connected") }
      #expect(FileManager.default.fileExists(atPath: path))
    }
  }

  /// A connection that is made at once; nil when as many wait as may.
  private static func connectNow(_ path: String) -> Int32? {
    let descriptor = Glibc.socket(
      AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    // The address lives on this frame for the call, and the size is its own.
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    if result == 0 { return descriptor }
    close(descriptor)
    return nil
  }

  @Test("A socket file is for its user only")
  func mode() throws {
    let folder = try TemporaryFolder()
    let listener = try Listener(on: .unix(path: folder("socket")), timeout: 1)
    var status = stat()
    #expect(lstat(folder("socket"), &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    _ = try Socket.connect(to: listener.endpoint, timeout: 1)
  }

  @Test("At its end a listener removes its own file, and not the one that has taken its place")
  func replaced() throws {
    let folder = try TemporaryFolder()
    let path = folder("socket")
    var old: Listener? = try Listener(on: .unix(path: path), timeout: 1)
    #expect(old != nil)
    unlink(path)
    let new = try Listener(on: .unix(path: path), timeout: 1)
    old = nil
    _ = try Socket.connect(to: new.endpoint, timeout: 1)
  }

  @Test("A link in the way is not followed, and stays")
  func link() throws {
    let folder = try TemporaryFolder()
    try Sockets.leave(at: folder("dead"))
    try FileManager.default.createSymbolicLink(
      atPath: folder("link"), withDestinationPath: folder("dead"))
    #expect(
      kind { () throws(TransportError) in
        _ = try Listener(on: .unix(path: folder("link")), timeout: 1)
      } == .unreachable)
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: folder("link")) == folder("dead"))
    #expect(FileManager.default.fileExists(atPath: folder("dead")))
  }

  @Test("A dead socket of somebody else's is not replaced")
  func foreign() throws {
    let folder = try TemporaryFolder()
    try Sockets.leave(at: folder("dead"))
    guard lchown(folder("dead"), 12345, 12345) == 0 else {
      return SkipReason("only root can give a file away").announce("another user's socket file")
    }
    #expect(
      kind { () throws(TransportError) in
        _ = try Listener(on: .unix(path: folder("dead")), timeout: 1)
      } == .unreachable)
    #expect(FileManager.default.fileExists(atPath: folder("dead")))
  }

  @Test("Of many that begin to listen at a dead socket's path at once, one does")
  func race() throws {
    let folder = try TemporaryFolder()
    for round in 0..<30 {
      let path = folder("socket-\(round)")
      try Sockets.leave(at: path)
      let listeners = System.Monitor<[Listener]>([])
      inThreads(6) { _ in
        guard let listener = try? Listener(on: .unix(path: path), timeout: 1) else { return }
        listeners.update { $0.append(listener) }
      }
      let winners = listeners.update { all in
        defer { all = [] }
        return all
      }
      // They listen for as long as they are there.
      withExtendedLifetime(winners) {
        #expect(winners.count == 1)
        #expect((try? Socket.connect(to: .unix(path: path), timeout: 1)) != nil)
      }
    }
  }
}
