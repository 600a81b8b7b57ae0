import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing
import Transport
import Wire

/// Who else connects while a guest is waited for, and while it comes in: nothing of that ends the
/// waiting, and the source's guest is held.
@Suite("Connections that are no source's", .beside)
struct StrayTests {
  private func line(_ stray: Stray) -> Line {
    Line(stray.bytes, end: stray.closes ? .close : .wait)
  }

  @Test(
    "Before the source", arguments: Stray.all, ["bios-72-zlib-2ch", "bios-111-none-2ch"])
  func before(stray: Stray, name: String) throws {
    for transport in Reception.Transport.allCases {
      var session = try Tampered(name)
      session.lines[0].connectAfter = 0.05
      let reception = try Reception([line(stray), line(stray)] + session.lines, over: transport)
      try reception.expectHeld(session.script)
      #expect(reception.heard[0].bytes.isEmpty, "it is told nothing")
    }
  }

  @Test("All of them, for longer than --timeout", arguments: Reception.Transport.allCases)
  func longBefore(over transport: Reception.Transport) throws {
    var session = try Tampered("bios-100-zstd-2ch")
    session.lines[0].connectAfter = 1.5
    let reception = try Reception(Stray.all.map(line) + session.lines, over: transport) {
      $0.timeout = 1
    }
    try reception.expectHeld(session.script)
  }

  @Test("Beside the source, before its first sync point", arguments: Stray.all)
  func beside(stray: Stray) throws {
    for transport in Reception.Transport.allCases {
      var session = try Tampered("bios-72-zlib-2ch")
      // The channels say nothing until the stranger has come and, if it does, gone.
      for index in 1...2 { session.lines[index].writeAfter = 0.3 }
      let reception = try Reception(session.lines + [line(stray), line(stray)], over: transport) {
        // One that stays may be a channel, for all that can be seen: only the operator knows
        // better.
        if !stray.closes { $0.channels = 2 }
      }
      try reception.expectHeld(session.script)
      #expect(reception.heard[3].bytes.isEmpty)
    }
  }

  @Test(
    "Channels whose main channel does not come are closed, and the source that comes then is held")
  func orphans() throws {
    var session = try Tampered("bios-111-zlib-2ch")
    let orphans = Array(session.lines.dropFirst())
    session.lines[0].connectAfter = 1.5
    let reception = try Reception(orphans + session.lines) { $0.timeout = 1 }
    try reception.expectHeld(session.script)
  }

  @Test("Each kind is told once, however many come")
  func told() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let multifd = try MultiFDProcess([
      "receive", "--listen", "tcp:127.0.0.1:0", "--progress", "none", "--store", folder("store"),
    ])
    defer { multifd.process.kill() }
    let uri = try multifd.waitListening()
    let port = try #require(uri.split(separator: ":").last.flatMap { Int($0) })
    for stray in Stray.all.filter(\.closes) + Stray.all.filter(\.closes) {
      let socket = try #require(Sockets.connect(port: port))
      Sockets.write(socket, stray.bytes)
      shutdown(socket, Int32(SHUT_WR))
      // Until it is closed there too.
      var byte: [UInt8] = [0]
      _ = Sockets.read(socket, &byte)
      close(socket)
    }
    multifd.process.kill(SIGTERM)
    let result = try multifd.wait()
    #expect(result.code == 128 + SIGTERM)
    let lines = result.errors.split(separator: "\n").filter { $0.contains("turned away") }
    #expect(lines.count == Set(lines).count && lines.count == 4, "\(result.errors)")
    #expect(lines.contains { $0.contains("TLS") && $0.contains("tls-creds") })
    #expect(lines.contains { $0.contains("47 45 54 20") })
  }

  @Test("Without a descriptor for them connections wait, and that is told once")
  func descriptors() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let multifd = try MultiFDProcess(
      [
        "receive", "--listen", "tcp:127.0.0.1:0", "--progress", "none", "--store", folder("store"),
      ])
    defer { multifd.process.kill() }
    let port = try #require(multifd.waitListening().split(separator: ":").last.flatMap { Int($0) })
    // Fewer than it has asked for when it started.
    let worker = try #require(multifd.process.worker)
    let limit = try ChildProcess(["/usr/bin/prlimit", "--pid", "\(worker)", "--nofile=14"])
    #expect(limit.wait(.seconds(10)) == .code(0))
    let silent = (0..<20).compactMap { _ in Sockets.connect(port: port) }
    #expect(silent.count == 20)
    Thread.sleep(forTimeInterval: 1)
    for socket in silent { close(socket) }
    // It has not given up: somebody else is heard, and turned away.
    let socket = try #require(Sockets.connect(port: port))
    defer { close(socket) }
    Sockets.write(socket, Array("GET / HTTP/1.0\r\n\r\n".utf8))
    var byte: [UInt8] = [0]
    #expect(Sockets.read(socket, &byte) == 0)
    multifd.process.kill(SIGTERM)
    let result = try multifd.wait()
    #expect(result.code == 128 + SIGTERM)
    let lines = result.errors.split(separator: "\n").filter { $0.contains("cannot be accepted") }
    #expect(lines.count == 1, "\(result.errors)")
  }
}
