import NBD
import Testing

/// The handshake, as byte strings written down from the protocol's document.
@Suite("The handshake of a network block device")
struct HandshakeTests {
  static let export = NBD.Export(
    name: "disk0", size: 0x4000_0000, flags: [.sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes])
  static let flags = big32(3)

  static func big16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }
  static func big32(_ value: Int) -> [UInt8] { big16(value >> 16 & 65535) + big16(value & 65535) }
  static func big64(_ value: Int) -> [UInt8] { big32(value >> 32) + big32(value & 0xffff_ffff) }
  static func option(_ kind: Int, _ data: [UInt8] = []) -> [UInt8] {
    Array("IHAVEOPT".utf8) + big32(kind) + big32(data.count) + data
  }
  static func go(_ name: String, infos: [Int] = []) -> [UInt8] {
    big32(name.utf8.count) + Array(name.utf8) + big16(infos.count) + infos.flatMap(big16)
  }
  static func reply(_ option: Int, _ type: Int, _ data: [UInt8] = []) -> [UInt8] {
    [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9] + big32(option) + big32(type) + big32(data.count) + data
  }
  static let accepted =
    reply(7, 3, big16(0) + big64(0x4000_0000) + big16(1 | 4 | 8 | 32 | 64))
    + reply(7, 3, big16(3) + big32(1) + big32(4096) + big32(32 << 20)) + reply(7, 1)

  /// What a server says to a client that says all of this at once, and what the client has chosen.
  static func talk(
    _ said: [UInt8], piece: Int = .max, refuse: NBDHandshake.Refusal? = nil,
    requiresTLS: Bool = false
  ) throws -> (answers: [UInt8], chosen: String?, rest: [UInt8], ended: Bool) {
    var handshake = NBDHandshake(exports: [export], requiresTLS: requiresTLS)
    var (come, waiting, answers) = ([UInt8](), said[...], [UInt8]())
    while true {
      switch try come.withUnsafeBytes({ try handshake.next($0) }) {
      case .needMore(let missing):
        #expect(missing > 0)
        guard !waiting.isEmpty else { return (answers, nil, come, false) }
        come += waiting.prefix(min(piece, missing))
        waiting = waiting.dropFirst(min(piece, missing))
      case .answer(let answer, let consumed):
        answers += answer
        come.removeFirst(consumed)
      case .end(let answer, let consumed):
        come.removeFirst(consumed)
        return (answers + answer, nil, come, true)
      // As if what follows had come by TLS.
      case .startTLS(let answer, let consumed):
        answers += answer
        come.removeFirst(consumed)
        #expect(come.isEmpty)
      case .choose(let name, let consumed):
        come.removeFirst(consumed)
        if name == export.name, refuse == nil {
          return (answers + handshake.accept(export), name, come + waiting, false)
        }
        guard let answer = handshake.refuse(refuse ?? .unknown) else {
          return (answers, nil, come, true)
        }
        answers += answer
      }
    }
  }

  @Test("A server's first words")
  func greeting() {
    #expect(NBDHandshake.greeting == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
  }

  @Test("GO, as QEMU says it, in pieces of any size", arguments: [1, 2, 3, 7, 100])
  func go(piece: Int) throws {
    // QEMU asks for structured replies first, and for a context that needs them never.
    let said = Self.flags + Self.option(8) + Self.option(7, Self.go("disk0", infos: [3]))
    let talk = try Self.talk(said + [1, 2, 3], piece: piece)
    #expect(talk.chosen == "disk0")
    #expect(talk.answers == Self.reply(8, 0x8000_0001) + Self.accepted)
    #expect(talk.rest == [1, 2, 3])
  }

  @Test("EXPORT_NAME, with and without the zeroes")
  func exportName() throws {
    let head = Self.big64(0x4000_0000) + Self.big16(1 | 4 | 8 | 32 | 64)
    let short = try Self.talk(Self.flags + Self.option(1, Array("disk0".utf8)))
    #expect(short.answers == head)
    let long = try Self.talk(Self.big32(1) + Self.option(1, Array("disk0".utf8)))
    #expect(long.answers == head + [UInt8](repeating: 0, count: 124))
    // There is no answer for a name that is not there.
    #expect(try Self.talk(Self.flags + Self.option(1, Array("disk1".utf8))).ended)
  }

  @Test("LIST, INFO, ABORT")
  func others() throws {
    let list = Self.reply(3, 2, Self.big32(5) + Array("disk0".utf8)) + Self.reply(3, 1)
    #expect(try Self.talk(Self.flags + Self.option(3)).answers == list)
    #expect(try Self.talk(Self.flags + Self.option(3, [1])).answers == Self.reply(3, 0x8000_0003))
    let info = try Self.talk(Self.flags + Self.option(6, Self.go("disk0")))
    #expect(info.chosen == nil)
    #expect(info.answers.count == Self.accepted.count)
    #expect(
      try Self.talk(Self.flags + Self.option(6, Self.go("disk1"))).answers
        == Self.reply(6, 0x8000_0006))
    let end = try Self.talk(Self.flags + Self.option(2))
    #expect(end.ended && end.answers == Self.reply(2, 1))
  }

  @Test("A refusal leaves the client its next option")
  func refusal() throws {
    let said = Self.flags + Self.option(7, Self.go("disk0"))
    #expect(try Self.talk(said, refuse: .policy).answers == Self.reply(7, 0x8000_0002))
    #expect(try Self.talk(said, refuse: .shutdown).answers == Self.reply(7, 0x8000_0007))
    let again = try Self.talk(
      Self.flags + Self.option(7, Self.go("other")) + Self.option(7, Self.go("disk0")))
    #expect(again.chosen == "disk0")
    #expect(again.answers == Self.reply(7, 0x8000_0006) + Self.accepted)
  }

  @Test("Every truncation of a handshake waits for more, and takes nothing that is not whole")
  func truncations() throws {
    let said = Self.flags + Self.option(8) + Self.option(7, Self.go("disk0", infos: [0, 3]))
    for count in 0..<said.count {
      let talk = try Self.talk(Array(said[..<count]))
      #expect(talk.chosen == nil && !talk.ended, "\(count) bytes")
    }
  }

  @Test("What is no handshake ends without a word")
  func nonsense() {
    #expect(throws: NBDError.self) { try Self.talk(Self.big32(0)) }
    #expect(throws: NBDError.self) { try Self.talk(Self.big32(5)) }
    #expect(throws: NBDError.self) { try Self.talk(Self.flags + Self.big64(7) + Self.big64(0)) }
    // An option as long as memory is not waited for.
    #expect(throws: NBDError.self) {
      try Self.talk(Self.flags + Array("IHAVEOPT".utf8) + Self.big32(7) + Self.big32(1 << 30))
    }
    // Nor a client that asks for ever.
    let asks = (0..<100).flatMap { _ in Self.option(8) }
    #expect(throws: NBDError.self) { try Self.talk(Self.flags + asks) }
  }

  @Test("A GO whose parts do not add up is invalid, and asked again")
  func mangledGo() throws {
    let whole = Self.go("disk0", infos: [3])
    for length in [0, 4, 6, whole.count - 1, whole.count + 1] {
      let data = Array((whole + [0, 0]).prefix(length))
      let talk = try Self.talk(Self.flags + Self.option(7, data))
      #expect(talk.answers == Self.reply(7, 0x8000_0003), "\(length) bytes")
    }
    var long = whole
    long[0] = 0xff
    #expect(
      try Self.talk(Self.flags + Self.option(7, long)).answers == Self.reply(7, 0x8000_0003))
    let noText = Self.big32(1) + [0xff] + Self.big16(0)
    #expect(
      try Self.talk(Self.flags + Self.option(7, noText)).answers == Self.reply(7, 0x8000_0003))
  }

  @Test("Noise never gets an export, and never more than an answer")
  func noise() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var said = Self.flags + Self.option(8) + Self.option(7, Self.go("disk0", infos: [3]))
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        said[Int.random(in: 0..<said.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      let talk = try? Self.talk(said)
      if let chosen = talk?.chosen { #expect(chosen == "disk0") }
    }
  }
}
