// What a backend is given: Content is what pages hold, Recording packets in a file, ForeignPayloads
// what other formats send, Mutator payloads that are spoilt at random, CorpusFolder those of them
// that are kept, PageFile pages of a real guest.

import Glibc

/// What pages hold.
enum Content: String, CaseIterable {
  /// All zero, and all one.
  case zero, ones
  /// Zero but for a few bytes.
  case sparse
  /// Words of small letters.
  case text
  /// As a running system's memory: pointers, small numbers, text, code, noise, zeroes. Where a run
  /// was given pages of a real one, those.
  case ram
  /// Incompressible.
  case random
  /// Half this, half that.
  case mixed
  /// Random with short repeats: what tempts an encoder into matches that do not pay.
  case awkward
  /// A pattern whose period is no power of two.
  case period
  /// Zero but for the last byte, for the first one, for one anywhere.
  case lastByte, firstByte, oneByte
  /// One byte over and over, other in each page.
  case filled
  /// A word over and over.
  case word
  /// Words that count up.
  case ramp

  /// Fills `size` bytes, a multiple of 8.
  func fill(_ page: UnsafeMutableRawPointer, _ size: Int, _ random: inout Seeded) {
    switch self {
    case .zero: memset(page, 0, size)
    case .ones: memset(page, 0xff, size)
    case .sparse:
      memset(page, 0, size)
      for _ in 0..<max(1, size / 1024) {
        let at = Int.random(in: 0..<size, using: &random)
        page.storeBytes(
          of: UInt8(truncatingIfNeeded: random.next()), toByteOffset: at, as: UInt8.self)
      }
    case .text: Self.fillText(page, size, &random)
    case .ram:
      if let real = PageFile.current { return real.fill(page, size, &random) }
      for at in stride(from: 0, to: size, by: 512) {
        Self.fillRAM(page + at, min(512, size - at), &random)
      }
    case .random:
      for at in stride(from: 0, to: size, by: 8) {
        page.storeBytes(of: random.next(), toByteOffset: at, as: UInt64.self)
      }
    case .mixed:
      let half = size / 16 * 8
      let kinds: [Content] = [.zero, .text, .random, .ram]
      kinds.randomElement(using: &random)!.fill(page, half, &random)
      kinds.randomElement(using: &random)!.fill(page + half, size - half, &random)
    case .awkward:
      Content.random.fill(page, size, &random)
      var at = 64
      while at < size - 64 {
        let back = Int.random(in: 4...min(at, 3000), using: &random)
        memmove(page + at, page + at - back, 3 + at % 3)
        at += 24
      }
    case .period:
      for at in 0..<size {
        page.storeBytes(of: UInt8(truncatingIfNeeded: at % 251), toByteOffset: at, as: UInt8.self)
      }
    case .lastByte:
      memset(page, 0, size)
      page.storeBytes(of: 1, toByteOffset: size - 1, as: UInt8.self)
    case .firstByte:
      memset(page, 0, size)
      page.storeBytes(of: UInt8.random(in: 1...255, using: &random), as: UInt8.self)
    case .oneByte:
      memset(page, 0, size)
      let at = Int.random(in: 0..<size, using: &random)
      page.storeBytes(
        of: UInt8.random(in: 1...255, using: &random), toByteOffset: at, as: UInt8.self)
    case .filled: memset(page, Int32(random.next() % 255 + 1), size)
    case .word:
      let word = random.next()
      for at in stride(from: 0, to: size, by: 8) {
        page.storeBytes(of: word, toByteOffset: at, as: UInt64.self)
      }
    case .ramp:
      let start = UInt32(truncatingIfNeeded: random.next())
      for at in stride(from: 0, to: size, by: 4) {
        page.storeBytes(of: start &+ UInt32(at / 4), toByteOffset: at, as: UInt32.self)
      }
    }
  }

  private static func fillText(
    _ page: UnsafeMutableRawPointer, _ size: Int, _ random: inout Seeded
  ) {
    var at = 0
    while at < size {
      // Common words more often, as in a language.
      let rank = min(
        Int.random(in: 0..<words.count, using: &random),
        Int.random(in: 0..<words.count, using: &random))
      let word = words[rank]
      let count = min(word.count, size - at)
      word.withUnsafeBytes { (page + at).copyMemory(from: $0.baseAddress!, byteCount: count) }
      at += count
    }
  }

  /// One of the kinds of things that memory is full of.
  private static func fillRAM(
    _ piece: UnsafeMutableRawPointer, _ size: Int, _ random: inout Seeded
  ) {
    switch random.next() % 16 {
    case 0..<5: memset(piece, 0, size)
    case 5..<10:
      // Objects: pointers into one heap, sizes, flags, padding.
      let heap = 0x7f3a_5c00_0000 + (random.next() % 4) << 16
      for at in stride(from: 0, to: size, by: 8) {
        let bits = random.next()
        let word: UInt64 =
          switch bits % 4 {
          case 0: heap + (bits >> 8) % (1 << 12) & ~63
          case 1: (bits >> 8) % 16
          case 2: 0
          default: 0x7f3a_5bf0_1260
          }
        piece.storeBytes(of: word, toByteOffset: at, as: UInt64.self)
      }
    case 10..<13: fillText(piece, size, &random)
    case 13..<15:
      // Code: a small alphabet of short instructions with operands.
      var at = 0
      while at < size {
        let instruction = code[Int(random.next() % UInt64(code.count))]
        for byte in instruction where at < size {
          piece.storeBytes(of: byte, toByteOffset: at, as: UInt8.self)
          at += 1
        }
        if at < size {
          piece.storeBytes(of: UInt8(random.next() % 32) * 8, toByteOffset: at, as: UInt8.self)
          at += 1
        }
      }
    default: Content.random.fill(piece, size, &random)
    }
  }

  private static let code: [[UInt8]] = [
    [0x48, 0x89, 0x44, 0x24], [0x48, 0x8b, 0x45], [0xe8, 0x12, 0x34, 0x00],
    [0x0f, 0x1f, 0x44, 0x00],
    [0x48, 0x83, 0xec], [0x85, 0xc0, 0x74], [0xc3, 0x55, 0x48, 0x89, 0xe5], [0x31, 0xc0, 0xeb],
  ]

  private static let words: [[UInt8]] = {
    var random = Seeded(7)
    return (0..<600).map { _ in
      let length = Int.random(in: 2...9, using: &random)
      return (0..<length).map { _ in UInt8.random(in: 97...122, using: &random) } + [32]
    }
  }()
}
