// The codec: tokens of `rle/1` (../RLE.md) to and from memory.

enum Payload {
  static let raw: UInt8 = 0
  static let rle: UInt8 = 1
}

/// What a token can say.
enum Token {
  static let shortestRun = 3
  static let longestRun = 130
  static let mostLiterals = 128
}

/// The tokens do not fit: send the pages as they are.
struct Full: Error {}

/// Writes tokens into memory until it is full. `base` has `limit` bytes for as long as the writer is used.
struct TokenWriter {
  let base: UnsafeMutablePointer<UInt8>
  let limit: Int
  private(set) var used = 0

  init(_ base: UnsafeMutablePointer<UInt8>, limit: Int) {
    self.base = base
    self.limit = limit
  }

  private mutating func take(_ count: Int) throws(Full) -> UnsafeMutablePointer<UInt8> {
    guard count <= limit - used else { throw Full() }
    defer { used += count }
    return base + used
  }

  private mutating func literals(_ bytes: UnsafePointer<UInt8>, _ count: Int) throws(Full) {
    var sent = 0
    while sent < count {
      let some = min(count - sent, Token.mostLiterals)
      let place = try take(1 + some)
      place.pointee = UInt8(truncatingIfNeeded: some - 1)
      memcpy(place + 1, bytes + sent, some)
      sent += some
    }
  }

  /// One piece of a page (`count` bytes), as literals and runs of at least `shortest` bytes.
  mutating func encode(_ piece: UnsafePointer<UInt8>, _ count: Int, shortest: Int) throws(Full) {
    var sent = 0, at = 0  // piece[sent..<at] waits to go out as literals
    while at < count {
      let byte = piece[at], most = min(count - at, Token.longestRun)
      var run = 1
      while run < most, piece[at + run] == byte { run += 1 }
      if run >= shortest {
        try literals(piece + sent, at - sent)
        let place = try take(2)
        place[0] = UInt8(truncatingIfNeeded: 0x80 + run - Token.shortestRun)
        place[1] = byte
        sent = at + run
      }
      at += run
    }
    try literals(piece + sent, at - sent)
  }
}

/// Reads tokens from a payload of `limit` bytes at `base`, valid for as long as the reader is used.
struct TokenReader {
  let base: UnsafePointer<UInt8>
  let limit: Int
  private var used = 0

  init(_ base: UnsafePointer<UInt8>, limit: Int) {
    self.base = base
    self.limit = limit
  }

  var isAtEnd: Bool { used == limit }

  private mutating func take(_ count: Int, _ why: StaticString) throws(Failure)
    -> UnsafePointer<UInt8>
  {
    guard count <= limit - used else { throw .corrupt(why) }
    defer { used += count }
    return base + used
  }

  /// Fills `size` bytes at `page` and not one more, whatever the tokens say.
  mutating func decode(_ page: UnsafeMutablePointer<UInt8>, _ size: Int) throws(Failure) {
    var filled = 0
    while filled < size {
      let token = Int(try take(1, "the payload ends before its last page").pointee)
      let count = token < 0x80 ? token + 1 : token - 0x80 + Token.shortestRun
      guard count <= size - filled else {
        throw .corrupt("a token reaches across the end of a page")
      }
      let follows = try take(token < 0x80 ? count : 1, "the payload ends within a token")
      if token < 0x80 {
        memcpy(page + filled, follows, count)
      } else {
        memset(page + filled, Int32(follows.pointee), count)
      }
      filled += count
    }
  }
}
