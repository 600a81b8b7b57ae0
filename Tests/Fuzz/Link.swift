import SessionReplay
import Wire

extension Input {
  /// The frames of a link, made here: nothing of a QEMU's is in them.
  static let link: [Input] = [
    frame("hello-main", .linkHello, LinkFrames.main.encode()),
    frame("hello-channel", .linkHello, LinkFrames.channel.encode()),
    frame("hello-later", .linkHello, LinkFrames.later),
    frame("answer-accepted", .linkAnswer, LinkFrames.accepted.encode()),
    frame("answer-raw", .linkAnswer, LinkAnswer.accepted(.rawOnly).encode()),
    frame("answer-refused", .linkAnswer, LinkAnswer.refused(LinkRefusal("busy")).encode()),
    frame("channel", .linkChannel, LinkFrames.packets),
    frame(
      "answer-reference", .linkAnswer, LinkAnswer.accepted(.rawOnly, reference: true).encode()),
    frame("reference", .linkReference, LinkFrames.reference),
  ]

  private static func frame(_ name: String, _ kind: Kind, _ bytes: [UInt8]) -> Input {
    Input(name: "link/\(name)", kind: kind, framed: false, bytes: bytes)
  }
}

/// What is mutated.
enum LinkFrames {
  static let session = VMUUID("00112233-4455-6677-8899-aabbccddeeff")!
  static let formats = [
    LinkFormat("lz4/1", bound: 0x80818)!, LinkFormat("zstd/1", bound: 0x80900)!,
    LinkFormat("a-backend_of-somebody-else/1234", bound: 1 << 20)!,
  ]
  /// Every format that it offers may be left out, so that mutations of answers come far.
  static let main = LinkHello(
    session: session, role: .main, pageSize: 4096, capacity: 128, formats: formats,
    reference: PageHashKey(Array(UInt8(1)...16)))!
  static let channel = LinkHello(
    session: session, role: .channel(3), pageSize: 4096, capacity: 128)!
  static let accepted = LinkAnswer(to: main, having: formats.reversed())
  static let dialect = PacketDialect.link(LinkFormats(formats)!)

  /// A channel behind its hello: pages as they are, in each of the formats, zero, none.
  static let packets: [UInt8] =
    MultiFDInit(uuid: session, id: 3).encode()
    + [(0, 1, 0), (1, 2, 1), (2, 1, 0), (3, 3, 0), (0, 0, 4), (2, 0, 0)].flatMap {
      packet(index: $0.0, normal: $0.1, zero: $0.2)
    }

  private static func packet(index: UInt32, normal: UInt32, zero: UInt32) -> [UInt8] {
    let payload = normal == 0 ? 0 : index == 0 ? 4096 * normal : 100 * index
    var flags = MultiFDFlags(rawValue: index << 1)
    if normal == 0 { flags.insert(.sync) }
    let header = MultiFDPacketHeader(
      flags: flags, pagesAllocated: 128, normalCount: normal, nextPacketSize: payload,
      packetNumber: 7, zeroCount: zero)
    let offsets = (0..<UInt64(normal + zero)).map { $0 * 4096 }
    return header.bytes("pc.ram", offsets) + [UInt8](repeating: 0x5a, count: Int(payload))
  }

  /// Two blocks, with runs of both kinds.
  static var reference: [UInt8] {
    var encoder = LinkReferenceEncoder([
      RAMBlockDescription(name: "pc.ram", usedLength: 1 << 20),
      RAMBlockDescription(name: "pc.bios", usedLength: 1 << 13),
    ])
    let hash = PageHash(first: 1, second: 2)
    encoder.pages(Array(repeating: hash, count: 5))
    encoder.zero(pages: 249)
    for _ in 0..<4 { encoder.pages([hash]) }
    return encoder.bytes
  }

  /// A hello of version 1.1 with a field that 1.0 does not know.
  static var later: [UInt8] {
    let field = [5, 0, 0, 4] + Array("laterabcd".utf8)
    var bytes = main.encode() + field
    bytes[11] = 1
    bytes[15] += UInt8(field.count)
    return bytes
  }
}

extension Decoding {
  mutating func linkHello(_ all: UnsafeRawBufferPointer) -> Outcome {
    frame(all, most: LinkHello.maxSize) { bytes throws(WireError) in
      switch try LinkHello.decode(bytes) {
      case .needMore(let count): return .needMore(count)
      case .hello(let hello, let consumed):
        // What is unknown is not encoded again; what is known comes to the same.
        let copy = hello.encode()
        let again = copy.withUnsafeBytes { try? LinkHello.decode($0) }
        return .value(consumed, isStable: again == .hello(hello, consumed: copy.count))
      }
    }
  }

  mutating func linkAnswer(_ all: UnsafeRawBufferPointer) -> Outcome {
    frame(all, most: LinkHello.maxSize) { bytes throws(WireError) in
      switch try LinkAnswer.decode(bytes, to: LinkFrames.main) {
      case .needMore(let count): return .needMore(count)
      case .answer(let answer, let consumed):
        let copy = answer.encode()
        let again = copy.withUnsafeBytes { try? LinkAnswer.decode($0, to: LinkFrames.main) }
        return .value(consumed, isStable: again == .answer(answer, consumed: copy.count))
      }
    }
  }

  /// Runs, in pieces of some bytes unless all come at once: a run of hashes may be told in parts.
  mutating func linkReference(_ all: UnsafeRawBufferPointer) -> Outcome {
    var outcome = Outcome()
    var limits = StreamDecoder.Limits()
    limits.maxRAM = 1 << 30
    var decoder = LinkReferenceDecoder(limits: limits)
    var blocks: [Int] = []
    var told: [Int] = []
    let piece = chunk == .max ? all.count : 1 + chunk % 23
    var (start, arrived) = (0, min(piece, all.count))
    do throws(WireError) {
      while true {
        switch try decoder.next(UnsafeRawBufferPointer(rebasing: all[start..<arrived])) {
        case .end:
          require(told == blocks, "\(told) pages, not \(blocks)")
          outcome.mix(UInt64(start))
          return outcome
        case .needMore(let count):
          require(count > 0 && count <= 600, "asks for \(count) bytes")
          guard arrived < all.count else {
            outcome.name = WireError.Code.truncated.rawValue
            return outcome
          }
          arrived += min(piece, all.count - arrived)
        case .element(let element, let consumed):
          require(consumed > 0 && consumed <= arrived - start, "consumes \(consumed)")
          guard violation == nil else { return outcome }
          start += consumed
          switch element {
          case .blocks(let list):
            blocks = list.map { Int($0.usedLength >> 12) }
            told = list.map { _ in 0 }
            require(blocks.reduce(0, +) <= 1 << 18, "\(blocks) pages")
          case .zero(let block, let pages), .hashes(let block, let pages):
            require(pages.lowerBound == told[block], "page \(pages) after \(told)")
            told[block] = pages.upperBound
          }
        }
      }
    } catch {
      outcome.fail(error)
      require(error.offset < UInt64(all.count), "an error behind the end: \(error)")
    }
    return outcome
  }

  private enum Frame {
    case needMore(Int)
    case value(Int, isStable: Bool)
  }

  /// One frame, in pieces of some bytes unless it comes at once.
  private mutating func frame(
    _ all: UnsafeRawBufferPointer, most: Int,
    _ decode: (UnsafeRawBufferPointer) throws(WireError) -> Frame
  ) -> Outcome {
    var outcome = Outcome()
    let piece = chunk == .max ? all.count : 1 + chunk % 23
    var arrived = 0
    do throws(WireError) {
      repeat {
        arrived += min(piece, all.count - arrived)
        switch try decode(UnsafeRawBufferPointer(rebasing: all[..<arrived])) {
        case .needMore(let count):
          require(count > 0 && arrived + count <= most, "asks for \(count) bytes at \(arrived)")
        case .value(let consumed, let isStable):
          require(consumed > 0 && consumed <= arrived, "consumes \(consumed) of \(arrived)")
          require(isStable, "the value encodes to another")
          outcome.mix(UInt64(consumed))
          return outcome
        }
      } while arrived < all.count
      outcome.name = WireError.Code.truncated.rawValue
    } catch {
      outcome.fail(error)
      require(error.offset < UInt64(all.count), "an error behind the end: \(error)")
    }
    return outcome
  }
}
