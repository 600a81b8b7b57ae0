import Foundation
import Migration
import System
import TestSupport
import Testing
import Transport
import Wire

/// What the connecting side of a link makes of those that may listen there (docs/LINK.md section 6).
@Suite("A link's connecting side")
struct LinkCallerTests {
  /// Who listens.
  enum Listener: Sendable {
    /// Says this, when the hello has come, and closes.
    case says([UInt8])
    /// Closes when the hello has come.
    case closes
    /// Says nothing.
    case isSilent
    /// Says this, a byte at a time, for ever.
    case drips([UInt8])
    /// Sends back what comes.
    case echoes
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var listener: Listener
    var kind: Failure.Kind
    var text: String

    init(_ name: String, _ listener: Listener, _ kind: Failure.Kind, _ text: String) {
      (testDescription, self.listener, self.kind, self.text) = (name, listener, kind, text)
    }
  }

  static let lz4 = LinkFormat("lz4/1", bound: 526_360)!
  private static func frame(version: UInt8, length: [UInt8] = [0, 0, 0, 0]) -> [UInt8] {
    Array("MFDLANSW".utf8) + [0, version, 0, 0] + length
  }

  static let cases = [
    Case(
      "refuses the format", .says(LinkAnswer.refused(LinkRefusal("lz4/1 was asked for")).encode()),
      .refused, "main was refused: lz4/1 was asked for"),
    Case(
      "speaks a newer version", .says(frame(version: 2)), .refused,
      "the connecting side speaks link version 1.0, the answering side 2.0"),
    Case("speaks an older version", .says(frame(version: 0)), .refused, "the answering side 0.0"),
    Case("closes in the hello", .closes, .failed, "closed the connection before it answered"),
    Case(
      "closes in its answer", .says(Array(frame(version: 1, length: [0, 0, 0, 9]))), .failed,
      "closed the connection before it answered"),
    Case(
      "announces 4 GiB", .says(frame(version: 1, length: [0xff, 0xff, 0xff, 0xff])), .refused,
      "announces a body of 4294967295 bytes"),
    Case("never says anything", .isSilent, .unreachable, "no answer to the hello within 0.5 s"),
    Case(
      "drips", .drips(LinkAnswer.refused(LinkRefusal("too late")).encode()), .unreachable,
      "no answer to the hello within 0.5 s"),
    Case(
      "is a source QEMU", .says([0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3]), .corrupt,
      "the file header of a QEMU, which speaks no link"),
    Case(
      "is something else", .says(Array("SSH-2.0-OpenSSH_9.2".utf8)), .corrupt,
      "expected the link's answer, found bytes 53 53 48"),
    Case("is an echo", .echoes, .corrupt, "both sides are the connecting one"),
    Case(
      "accepts what was not offered",
      .says(LinkAnswer.accepted(LinkFormats([LinkFormat("zstd/1", bound: 9)!])!).encode()),
      .corrupt, "which was not offered"),
    Case(
      "accepts without what was required", .says(LinkAnswer.accepted(.rawOnly).encode()), .corrupt,
      "without lz4/1, which was asked for"),
  ]

  /// Plays the listener for one connection.
  private static func play(_ listener: Listener, on descriptor: Int32) {
    let accepted = Sockets.accept(descriptor)
    guard accepted >= 0 else { return }
    defer { close(accepted) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = Sockets.read(accepted, &buffer)
    switch listener {
    case .says(let bytes): Sockets.write(accepted, bytes)
    case .closes: break
    case .isSilent: _ = Sockets.read(accepted, &buffer)
    case .drips(let bytes):
      for byte in bytes {
        guard Sockets.write(accepted, [byte]) else { return }
        Thread.sleep(forTimeInterval: 0.1)
      }
    case .echoes: Sockets.write(accepted, buffer.prefix(count))
    }
  }

  @Test("Whoever listens there, it is said what is wrong, and in time", arguments: cases)
  func meets(_ peer: Case) throws {
    let (descriptor, port) = try Sockets.listen()
    let threads = ThreadGroup()
    try threads.start("listener") { Self.play(peer.listener, on: descriptor) }
    defer {
      shutdown(descriptor, Int32(SHUT_RDWR))
      threads.joinAll()
      close(descriptor)
    }
    let caller = LinkCaller(
      to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 0.5, pageSize: 4096)
    let error = #expect(throws: Failure.self) {
      _ = try caller.main(offering: [Self.lz4], required: 1)
    }
    let failure = try #require(error)
    #expect(failure.kind == peer.kind && failure.why.contains(peer.text), "\(failure)")
    #expect(failure.what == "link:tcp:127.0.0.1:\(port)")
  }

  @Test("What follows the answer is left for whoever reads the connection")
  func takesNoMore() throws {
    let (descriptor, port) = try Sockets.listen()
    let threads = ThreadGroup()
    let answer = LinkAnswer.accepted(LinkFormats([Self.lz4])!).encode()
    try threads.start("listener") { Self.play(.says(answer + [7, 8, 9]), on: descriptor) }
    defer {
      threads.joinAll()
      close(descriptor)
    }
    let caller = LinkCaller(
      to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 5, pageSize: 4096)
    let (socket, formats, _) = try caller.main(offering: [Self.lz4], required: 1)
    #expect(formats.agreed == [Self.lz4])
    var rest = [UInt8](repeating: 0, count: 3)
    #expect(try rest.withUnsafeMutableBytes { try socket.fill($0, idle: false) })
    #expect(rest == [7, 8, 9])
  }
}
