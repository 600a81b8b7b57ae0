import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Transport
import Wire

/// Who connects to a relay, and where it connects to, may be anybody.
@Suite("Relays meet others than they expect", .beside)
struct RelayPeerTests {
  private static let nowhere = Destination(.tcp(host: "127.0.0.1", port: 1))

  /// Says something to a relay, and gives what came back until it closed.
  private func say(_ bytes: [UInt8], to relay: LocalRelay) throws -> [UInt8] {
    guard case .tcp(_, let port) = relay.endpoint else { return [] }
    let socket = try #require(Sockets.connect(port: Int(port)))
    defer { close(socket) }
    Sockets.write(socket, bytes)
    var (answer, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 4096))
    while case let count = Sockets.read(socket, &buffer), count > 0 { answer += buffer[..<count] }
    return answer
  }

  private func refusal(_ bytes: [UInt8], from relay: LocalRelay) throws -> String {
    let answer = try say(bytes, to: relay)
    let step = try answer.withUnsafeBytes { try LinkAnswer.decode($0, to: nil) }
    guard case .answer(.refused(let refusal), _) = step else { return "no refusal: \(step)" }
    return refusal.text
  }

  private static func hello(
    _ role: LinkRole = .main, page: UInt32 = 4096, formats: [LinkFormat] = [], required: Int = 0
  ) -> [UInt8] {
    LinkHello(
      session: VMUUID(bytes: Array(1...16))!, role: role, pageSize: page,
      capacity: 524_288 / page, formats: formats, required: required)!.encode()
  }

  @Test("Whatever is refused or is none ends nothing, and is told why")
  func refusals() throws {
    let relay = try LocalRelay(to: Self.nowhere)
    var newer = Self.hello()
    newer[9] = 2
    #expect(
      try refusal(newer, from: relay)
        == "the connecting side speaks link version 2.0, the answering side 1.0")
    let long = Self.hello().prefix(12) + [0xff, 0xff, 0xff, 0xff]
    #expect(try refusal(Array(long), from: relay).contains("a body of 4294967295 bytes"))
    #expect(
      try refusal(Self.hello(.channel(0)), from: relay)
        == "channel 0 of a session whose main connection is not here")
    #expect(
      try refusal(Self.hello(page: 65536), from: relay)
        == "packets of 8 pages of 65536 bytes, the answering side takes 128 of 4096")
    let foreign = LinkFormat("zfoo/3", bound: 100)!
    #expect(
      try refusal(Self.hello(formats: [foreign], required: 1), from: relay)
        .hasPrefix("zfoo/3 was asked for, the answering side has "))
    // All is well with this one, but for the destination.
    let late = try refusal(Self.hello(), from: relay)
    #expect(late.contains("cannot connect to tcp:127.0.0.1:1"), "\(late)")
    #expect(try say(Array("GET / HTTP/1.1\r\n".utf8), to: relay).isEmpty)
    #expect(try say(LinkAnswer.accepted(.rawOnly).encode(), to: relay).isEmpty)
    #expect(!relay.hasEnded)
    #expect(relay.log.count { $0.contains("refused") } >= 1)
    guard case .failure(let failure)? = relay.cancel() else { return #expect(Bool(false)) }
    #expect(failure.kind == .signal(15))
  }

  @Test("A source whose destination is not there is let go at once")
  func unreachable() throws {
    let session = try Tampered("bios-111-zlib-2ch")
    let relay = try LocalRelay(to: Self.nowhere)
    let source = FakeSource(session.lines, to: relay.endpoint)
    guard case .failure(let failure)? = relay.end() else { return #expect(Bool(false)) }
    #expect(failure.kind == .unreachable && failure.what == "destination", "\(failure)")
    #expect(source.end().allSatisfy { $0.closed })
  }

  @Test("A destination that closes, or fails to load, is the end for the source too")
  func destinationEnds() throws {
    let session = try Tampered("bios-111-zlib-2ch")
    let (descriptor, port) = try Sockets.listen()
    let relay = try LocalRelay(to: Destination(.tcp(host: "127.0.0.1", port: UInt16(port))))
    let source = FakeSource(session.lines, to: relay.endpoint)
    let main = Sockets.accept(descriptor)
    Sockets.write(main, ReturnPathMessage.shut(1).encode())
    close(main)
    close(descriptor)
    guard case .failure(let failure)? = relay.end() else { return #expect(Bool(false)) }
    #expect(failure.kind == .failed || failure.kind == .unreachable, "\(failure)")
    #expect(source.end().allSatisfy { $0.closed })
  }

  @Test("Of more channels than were told, and of fewer, it is said")
  func channelCount() throws {
    let session = try Tampered("bios-111-zlib-2ch")
    func failure(_ channels: Int) throws -> Failure? {
      let (descriptor, port) = try Sockets.listen()
      defer { close(descriptor) }
      let relay = try LocalRelay(
        to: Destination(.tcp(host: "127.0.0.1", port: UInt16(port)))
      ) {
        $0.channels = channels
        $0.timeout = 0.5
      }
      let source = FakeSource(session.lines, to: relay.endpoint)
      defer { _ = source.end() }
      guard case .failure(let failure)? = relay.end() else { return nil }
      return failure
    }
    let few = try #require(try failure(1))
    #expect(few.kind == .refused && few.why.contains("more channels than the 1"), "\(few)")
    let many = try #require(try failure(4))
    #expect(many.kind == .unreachable && many.why.contains("2 of 4"), "\(many)")
  }

  @Test("A channel that is missing is not waited for without end, nor a source that has gone")
  func missing() throws {
    let (descriptor, port) = try Sockets.listen()
    defer { close(descriptor) }
    let to = Destination(.tcp(host: "127.0.0.1", port: UInt16(port)))
    for hasLeft in [false, true] {
      var session = try Tampered("bios-100-zstd-2ch")
      session.lines.remove(at: 1)
      if hasLeft { session.lines[0].end = .close }
      let relay = try LocalRelay(to: to) { $0.timeout = hasLeft ? 1000 : 0.5 }
      let source = FakeSource(session.lines, to: relay.endpoint)
      defer { _ = source.end() }
      guard case .failure(let failure)? = relay.end() else { return #expect(Bool(false)) }
      if hasLeft {
        #expect(failure.kind == .failed && failure.what == "source", "\(failure)")
      } else {
        #expect(failure.kind == .unreachable && failure.what == "channel 0", "\(failure)")
        #expect(failure.why.hasPrefix("it has not connected within 0.5 s"), "\(failure)")
      }
    }
  }

  @Test("Without a return path the end of a source that was killed is not its guest's move")
  func killed() throws {
    let main = try Tampered("bios-100-main-only", returnPath: false).lines[0].bytes
    for (cut, hasMoved) in [(main.count, true), (main.count - 1, false), (main.count / 2, false)] {
      let (descriptor, port) = try Sockets.listen()
      let relay = try LocalRelay(to: Destination(.tcp(host: "127.0.0.1", port: UInt16(port))))
      let source = FakeSource([Line(Array(main[..<cut]), end: .close)], to: relay.endpoint)
      let far = Sockets.accept(descriptor)
      var (count, buffer) = (0, [UInt8](repeating: 0, count: 1 << 16))
      while case let got = Sockets.read(far, &buffer), got > 0 { count += got }
      close(far)
      close(descriptor)
      let end = try #require(relay.end())
      _ = source.end()
      #expect(count == cut)
      if hasMoved {
        #expect(try end.get().result == "passed")
      } else {
        guard case .failure(let failure) = end else { return #expect(Bool(false)) }
        #expect(failure.kind == .failed && failure.what == "source", "\(failure)")
        #expect(failure.why.contains("before the guest had moved"))
      }
    }
  }

  @Test("What cannot be is said before anybody connects")
  func usage() throws {
    func failure(_ to: String, _ compression: String) throws -> Failure {
      let error = #expect(throws: Failure.self) {
        _ = try LocalRelay(to: Destination(parsing: to), compression)
      }
      return try #require(error)
    }
    #expect(try failure("tcp:127.0.0.1:1", "auto").kind == .usage)
    #expect(try failure("tcp:127.0.0.1:1", "lz4").kind == .refused)
    #expect(try failure("link:tcp:127.0.0.1:1", "nothing").kind == .refused)
    #expect(try failure("link:tcp:127.0.0.1:1", "auto=lz4,lz4").kind == .usage)
  }
}
