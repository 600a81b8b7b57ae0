import NBD
import Testing

/// STARTTLS, as the protocol's document has it, and what else could be meant by it.
@Suite("The handshake of a network block device, with TLS")
struct StartTLSTests {
  private typealias Bytes = HandshakeTests
  private static let (invalid, unsupported, required) = (0x8000_0003, 0x8000_0001, 0x8000_0005)
  private static let startTLS = Bytes.option(5)
  private static let go = Bytes.option(7, Bytes.go("disk0"))

  @Test("Before TLS nothing else is answered, and nothing is told", arguments: [1, 7, 1000])
  func required(piece: Int) throws {
    let kinds = [3, 6, 7, 8, 9, 10, 4711]
    let asked = kinds.flatMap { kind in
      Bytes.option(kind, kind == 6 || kind == 7 ? Bytes.go("disk0") : [])
    }
    let refusals = kinds.flatMap { Bytes.reply($0, Self.required) }
    let talk = try Bytes.talk(
      Bytes.flags + asked + Self.startTLS + Self.go + [1, 2], piece: piece, requiresTLS: true)
    #expect(talk.answers == refusals + Bytes.reply(5, 1) + Bytes.accepted)
    #expect(talk.chosen == "disk0" && talk.rest == [1, 2])
    let left = try Bytes.talk(Bytes.flags + Bytes.option(2), piece: piece, requiresTLS: true)
    #expect(left.ended && left.answers == Bytes.reply(2, 1))
    // The old way there is no answer but an export.
    #expect(throws: NBDError.self) {
      try Bytes.talk(
        Bytes.flags + Bytes.option(1, Array("disk0".utf8)), piece: piece, requiresTLS: true)
    }
  }

  @Test("Where there is none it is unknown; with data, and a second time, it is invalid")
  func elsewhere() throws {
    let none = try Bytes.talk(Bytes.flags + Self.startTLS + Self.go)
    #expect(none.answers == Bytes.reply(5, Self.unsupported) + Bytes.accepted)
    let data = try Bytes.talk(
      Bytes.flags + Bytes.option(5, [0]) + Self.startTLS + Self.startTLS + Self.go,
      requiresTLS: true)
    #expect(
      data.answers == Bytes.reply(5, Self.invalid) + Bytes.reply(5, 1)
        + Bytes.reply(5, Self.invalid) + Bytes.accepted)
    let old = try Bytes.talk(
      Bytes.flags + Self.startTLS + Bytes.option(1, Array("disk0".utf8)), requiresTLS: true)
    #expect(old.chosen == "disk0")
  }

  @Test("Every truncation waits for more, and gets nothing that was asked for in clear")
  func truncations() throws {
    let said = Bytes.flags + Bytes.option(3) + Self.startTLS + Self.go
    let clear = Bytes.flags.count + Bytes.option(3).count
    for count in 0..<said.count {
      let talk = try Bytes.talk(Array(said[..<count]), requiresTLS: true)
      #expect(talk.chosen == nil && !talk.ended, "\(count) bytes")
      let refusal = count < clear ? [] : Bytes.reply(3, Self.required)
      let answer = count < clear + Self.startTLS.count ? [] : Bytes.reply(5, 1)
      #expect(talk.answers == refusal + answer, "\(count) bytes")
    }
  }

  /// Fed with all of it at once: what a connection has brought before TLS began.
  private static func rest(of said: [UInt8]) throws -> NBDHandshake.Step {
    var handshake = NBDHandshake(exports: [Bytes.export], requiresTLS: true)
    #expect(
      try Bytes.flags.withUnsafeBytes { try handshake.next($0) } == .answer([], consumed: 4))
    return try said.withUnsafeBytes { try handshake.next($0) }
  }

  @Test("Whatever has come in clear behind it is an end: a byte, or all of an option")
  func injected() throws {
    #expect(
      try Self.rest(of: Self.startTLS) == .startTLS(Bytes.reply(5, 1), consumed: 16))
    for count in 1...Self.go.count {
      #expect(throws: NBDError.self, "\(count) bytes") {
        try Self.rest(of: Self.startTLS + Self.go.prefix(count))
      }
    }
    #expect(throws: NBDError.self) { try Self.rest(of: Self.startTLS + [0x16, 3, 1]) }
  }

  @Test("Why the two do not come together is known, and forgotten once they do")
  func mismatch() throws {
    func mismatch(_ said: [UInt8], requiresTLS: Bool) -> NBDHandshake.Mismatch? {
      var handshake = NBDHandshake(exports: [Bytes.export], requiresTLS: requiresTLS)
      var rest = (Bytes.flags + said)[...]
      while let step = try? Array(rest).withUnsafeBytes({ try handshake.next($0) }) {
        switch step {
        case .answer(_, let consumed), .startTLS(_, let consumed): rest = rest.dropFirst(consumed)
        default: return handshake.mismatch
        }
      }
      return handshake.mismatch
    }
    #expect(mismatch(Self.go, requiresTLS: true) == .plain)
    #expect(mismatch(Bytes.option(1), requiresTLS: true) == .plain)
    #expect(mismatch(Self.startTLS, requiresTLS: false) == .wantsTLS)
    #expect(mismatch(Self.startTLS + [0], requiresTLS: true) == .clearBehindTLS)
    #expect(mismatch(Self.startTLS, requiresTLS: true) == nil)
    #expect(mismatch([], requiresTLS: true) == nil)
  }

  @Test("Options that were asked for in clear are not counted in TLS")
  func counted() throws {
    let asks = (0..<60).flatMap { _ in Bytes.option(8) }
    let talk = try Bytes.talk(
      Bytes.flags + asks + Self.startTLS + asks + Self.go, requiresTLS: true)
    #expect(talk.chosen == "disk0")
    #expect(throws: NBDError.self) {
      try Bytes.talk(Bytes.flags + asks + asks, requiresTLS: true)
    }
  }

  @Test("Noise never gets an export in clear")
  func noise() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var said = Bytes.flags + Bytes.option(8) + Self.go
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        said[Int.random(in: 4..<said.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      var handshake = NBDHandshake(exports: [Bytes.export], requiresTLS: true)
      while let step = try? said.withUnsafeBytes({ try handshake.next($0) }) {
        guard case .answer(_, let consumed) = step else {
          if case .choose = step { Issue.record("an export in clear") }
          break
        }
        said.removeFirst(consumed)
      }
    }
  }
}
