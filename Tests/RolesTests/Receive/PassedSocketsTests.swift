import Foundation
import SessionReplay
import Store
import TestSupport
import Testing
import Transport
import Wire

/// `receive --listen fd:N` and `send --to fd:N,…`: the descriptors are those of whoever starts them.
@Suite("Sockets that multifd is started with", .beside)
struct PassedSocketsTests {
  @Test("A guest comes by a socket that listens, and the next one by the same")
  func listening() throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    for name in ["bios-111-zstd-2ch", "bios-100-zlib-2ch"] {
      let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
      defer { folder.remove() }
      let session = try Tampered(name)
      let multifd = try MultiFDProcess(
        ["receive", "--listen", "fd:3", "--store", folder("store"), "--timeout", "10"],
        passing: [listener])
      #expect(try multifd.waitListening() == "fd:3")
      let source = FakeSource(session.lines, to: .tcp(host: "127.0.0.1", port: UInt16(port)))
      let result = try multifd.wait(.seconds(60))
      let heard = source.end()
      #expect(result.code == 0, "\(result)")
      #expect(heard[0].messages.last == .shut(0))
      try Reception.expectHeld(folder("store"), session.script)
    }
  }

  @Test("A guest comes by a connection, which ends with the reception")
  func connection() throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let session = try Tampered("bios-72-main-only")
    let pair = try Self.pair()
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "fd:3", "--store", folder("store"), "--timeout", "10"],
      passing: [pair.theirs])
    close(pair.theirs)
    #expect(try multifd.waitListening() == "fd:3")
    // A reader of its own is not needed: what a receiver says fits into the socket.
    Sockets.write(pair.ours, session.lines[0].bytes)
    shutdown(pair.ours, Int32(SHUT_WR))
    var heard = FakeSource.Heard()
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = Sockets.read(pair.ours, &buffer), count > 0 {
      heard.bytes += buffer.prefix(count)
    }
    close(pair.ours)
    #expect(heard.messages.last == .shut(0))
    let result = try multifd.wait(.seconds(60))
    #expect(result.code == 0, "\(result)")
    try Reception.expectHeld(folder("store"), session.script)
  }

  @Test("A connection that is no source's is the last one: exit code 3, and nothing stays")
  func stranger() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let pair = try Self.pair()
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "fd:3", "--store", folder("store")], passing: [pair.theirs])
    close(pair.theirs)
    Sockets.write(pair.ours, Array("GET / HTTP/1.1\r\n\r\n".utf8))
    let result = try multifd.wait(.seconds(60))
    close(pair.ours)
    #expect(result.code == 3, "\(result)")
    #expect(result.errorLine?.contains("no source came by fd:3") == true, "\(result)")
    #expect(result.errors.contains("a connection has been turned away"), "\(result)")
    #expect(!FileManager.default.fileExists(atPath: folder("store")))
  }

  @Test("Only the worker has them, and its children do not", arguments: [true, false])
  func ownership(listens: Bool) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let pair = try Self.pair()
    let (listener, _) = try Sockets.listen()
    defer { for descriptor in [pair.ours, listener] { close(descriptor) } }
    let passed = listens ? listener : pair.theirs
    let name = try Self.link("self", passed)
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "fd:3", "--store", folder("store"), "--timeout", "60"],
      passing: [passed])
    close(pair.theirs)
    _ = try multifd.waitListening()
    let worker = try #require(multifd.process.worker)
    #expect(try Self.link("\(worker)", 3) == name)
    let info = try String(contentsOfFile: "/proc/\(worker)/fdinfo/3", encoding: .utf8)
    let flags = try #require(
      info.split(separator: "\n").first { $0.hasPrefix("flags:") }?
        .split(separator: "\t").last.flatMap { Int32($0, radix: 8) })
    #expect(flags & O_CLOEXEC != 0, "\(info)")
    // The guardian lets go right after the fork, and the worker may have been quicker.
    var left: [String] = [name]
    for _ in 0..<1000 where left.contains(name) {
      usleep(5000)
      left = try FileManager.default.contentsOfDirectory(
        atPath: "/proc/\(multifd.process.pid)/fd"
      ).compactMap { try? Self.link("\(multifd.process.pid)", Int32($0)!) }
    }
    #expect(!left.contains(name), "the guardian has it")
    kill(worker, SIGKILL)
    if !listens {
      var byte: [UInt8] = [0]
      #expect(Sockets.read(pair.ours, &byte) == 0, "the peer sees the end")
    }
    #expect(try multifd.wait(.seconds(60)).code == 70)
  }

  @Test("What a standby starts when its primary is lost has none of them")
  func children() throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    // What is passed for the QEMU itself is another thing, and it gets that.
    let tap = open("/dev/zero", O_RDONLY | O_CLOEXEC)
    defer { close(tap) }
    let standby = try MultiFDProcess(
      [
        "receive", "--colo", "--listen", "fd:3", "--store", folder("store"), "--on-loss",
        "failover", "--fence", "ls -l /proc/$$/fd >\(folder("files"))", "--", "/bin/false",
      ], passing: [listener, tap])
    _ = try standby.waitListening()
    let primary = try Primary(LostGuest.script, to: "tcp:127.0.0.1:\(port)")
    defer { primary.close() }
    try primary.play(upTo: 1)
    primary.close()
    _ = try standby.wait(.seconds(60))
    let files = try String(contentsOfFile: folder("files"), encoding: .utf8)
    #expect(files.contains(" 4 -> /dev/zero"), "\(files)")
    #expect(!files.contains("socket:"), "\(files)")
    close(try #require(Sockets.connect(port: port)))
  }

  @Test("A worker that does not end is reset and ended, and others keep what listens")
  func stuck() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let multifd = try MultiFDProcess(
      ["receive", "--listen", "fd:3", "--store", folder("store")], passing: [listener])
    _ = try multifd.waitListening()
    kill(try #require(multifd.process.worker), SIGSTOP)
    multifd.process.kill(SIGTERM)
    #expect(try multifd.wait(.seconds(60)).code == 128 + SIGTERM)
    close(try #require(Sockets.connect(port: port), "it does not listen any more"))
  }

  @Test("A guest goes out by connections, in their order", arguments: [0, 1, 2])
  func send(channels: Int) throws {
    let held = try HeldSession("bios-111-none-2ch")
    let destination = try FakeDestination(channels: channels)
    guard case .unix(let path) = destination.endpoint else { return }
    let connections = try (0...channels).map { _ in try #require(Sockets.connect(unix: path)) }
    let uri = "fd:" + (3...3 + channels).map(String.init).joined(separator: ",")
    let sender = try MultiFDProcess(
      [
        "send", "--store", held.path, "--to", uri, "--channels", "\(channels)", "--timeout", "10",
        "--sync", "section",
      ], passing: connections)
    for connection in connections { close(connection) }
    let result = try sender.wait(.seconds(60))
    let heard = destination.end()
    #expect(result.code == 0, "\(result)")
    #expect(result.output.contains("handed to \(uri)"), "\(result)")
    #expect(held.state == .handedOver)
    for (id, bytes) in heard.enumerated() {
      // The file header, and the head of a channel's packet 0.
      let magic: [UInt8] = id == 0 ? [0x51, 0x45, 0x56, 0x4d] : [0x11, 0x22, 0x33, 0x44]
      #expect(bytes.starts(with: magic), "connection \(id)")
    }
  }

  @Test("A relay takes a guest by a socket that listens, and passes it on by connections")
  func relay() throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let session = try Tampered("bios-111-none-2ch")
    let receiver = try MultiFDProcess([
      "receive", "--listen", "unix:" + folder("socket"), "--store", folder("store"), "--timeout",
      "10",
    ])
    _ = try receiver.waitListening()
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let connections = try (0...2).map { _ in
      try #require(Sockets.connect(unix: folder("socket")))
    }
    let relay = try MultiFDProcess(
      ["relay", "--listen", "fd:3", "--to", "fd:4,5,6", "--timeout", "10"],
      passing: [listener] + connections)
    for connection in connections { close(connection) }
    #expect(try relay.waitListening() == "fd:3")
    let source = FakeSource(session.lines, to: .tcp(host: "127.0.0.1", port: UInt16(port)))
    let (relayed, received) = (try relay.wait(.seconds(60)), try receiver.wait(.seconds(60)))
    let heard = source.end()
    #expect(relayed.code == 0, "\(relayed)")
    #expect(received.code == 0, "\(received)")
    #expect(heard[0].messages.last == .shut(0))
    try Reception.expectHeld(folder("store"), session.script)
  }

  @Test("A relay with too few connections says how many are needed; one without a source ends")
  func shortRelay() throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    let session = try Tampered("bios-111-none-2ch")
    let (listener, port) = try Sockets.listen()
    let far = try Self.pair()
    defer { close(far.ours) }
    let relay = try MultiFDProcess(
      ["relay", "--listen", "fd:3", "--to", "fd:4", "--timeout", "10"],
      passing: [listener, far.theirs])
    // Who connects after the relay has ended is not to wait for us.
    close(listener)
    _ = try relay.waitListening()
    let source = FakeSource(session.lines, to: .tcp(host: "127.0.0.1", port: UInt16(port)))
    let result = try relay.wait(.seconds(60))
    #expect(source.end().allSatisfy { $0.closed })
    #expect(result.code == 64, "\(result)")
    #expect(result.errorLine?.contains("fd:4: 1 given, and 2 needed") == true, "\(result)")

    let near = try Self.pair()
    let lonely = try MultiFDProcess(
      ["relay", "--listen", "fd:3", "--to", "fd:4"], passing: [near.theirs, far.theirs])
    for descriptor in [near.theirs, far.theirs] { close(descriptor) }
    close(near.ours)
    let ended = try lonely.wait(.seconds(60))
    #expect(ended.code == 3, "\(ended)")
    #expect(ended.errorLine?.contains("no source came by fd:3") == true, "\(ended)")
  }

  @Test("What cannot be used is a usage error in one line, before anything else")
  func usage() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let pair = try Self.pair()
    let (listener, _) = try Sockets.listen()
    defer { for descriptor in [pair.ours, pair.theirs, listener] { close(descriptor) } }
    let receive = ["receive", "--store", folder("store"), "--listen"]
    let send = ["send", "--store", folder("store"), "--to"]
    // 3 listens, 4 is connected, 5 is not open.
    let cases: [([String], String)] = [
      (receive + ["fd:5"], "fd:5: descriptor 5 is not open"),
      (receive + ["fd:1"], "0, 1 and 2 are stdin, stdout and stderr"),
      (receive + ["fd:3,4"], "one socket is listened on"),
      (receive + ["fd:3,3"], "twice"),
      (receive + ["fd:three"], "is no descriptor's number"),
      (receive + ["fd:4", "--channels", "2"], "need a socket that listens"),
      (send + ["fd:4"], "fd:4: 1 given, and 3 needed"),
      (send + ["fd:4,5", "--channels", "1"], "descriptor 5 is not open"),
      (send + ["fd:3", "--channels", "0"], "descriptor 3 listens"),
      (send + ["fd:4", "--channels", "1"], "1 given, and 2 needed"),
      (send + ["link:fd:4", "--channels", "1"], "1 given, and 2 needed"),
      (["relay", "--listen", "fd:4", "--to", "fd:4"], "descriptor 4 is one of fd:4 too"),
      (["relay", "--listen", "fd:3", "--to", "fd:4", "--channels", "1"], "2 needed"),
      (["relay", "--listen", "tcp::0", "--to", "link:fd:3"], "descriptor 3 listens"),
    ]
    for (arguments, words) in cases {
      let result = try MultiFDProcess(arguments, passing: [listener, pair.theirs])
        .wait(.seconds(20))
      #expect(result.code == 64, "\(arguments): \(result)")
      #expect(result.errorLine?.contains(words) == true, "\(arguments): \(result)")
    }
    #expect(!FileManager.default.fileExists(atPath: folder("store")))
  }

  /// Two ends of one connection.
  private static func pair() throws -> (ours: Int32, theirs: Int32) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  /// What a process's descriptor is: `socket:[INODE]`.
  private static func link(_ process: String, _ descriptor: Int32) throws -> String {
    try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\(descriptor)")
  }
}
