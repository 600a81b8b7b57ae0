/// SHA-256 (FIPS 180-4), fed piece by piece. Our own, since no library that the host links has one
/// and some megabytes, of a library or of a dictionary, are no matter of speed; a gigabyte of a
/// guest's pages takes 8 s.
public struct SHA256 {
  private var state: [UInt32] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
    0x5be0_cd19,
  ]
  private var schedule = [UInt32](repeating: 0, count: 64)
  /// What does not fill a block yet.
  private var rest: [UInt8] = []
  private var count: UInt64 = 0

  /// Of nothing so far.
  public init() {}

  /// Takes more bytes.
  public mutating func update(_ bytes: some Sequence<UInt8>) {
    // Callers are in other modules, and this is not made for their types: what is asked for one byte
    // at a time takes two and a half times as long as going through an array here.
    let isDone: Void? = bytes.withContiguousStorageIfAvailable { take($0) }
    if isDone == nil { Array(bytes).withUnsafeBufferPointer { take($0) } }
  }

  /// The bytes are their owner's, which the caller keeps; nothing of them is kept here.
  private mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) {
    for byte in bytes {
      rest.append(byte)
      count += 1
      if rest.count == 64 { takeBlock() }
    }
  }

  /// The hash of these bytes.
  public static func hash(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var hash = SHA256()
    hash.update(bytes)
    return hash.bytes()
  }

  /// The hash of all bytes so far: 32 bytes.
  public func bytes() -> [UInt8] {
    var ended = self
    ended.end()
    return ended.state.flatMap { word in
      stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) }
    }
  }

  /// The hash of all bytes so far, as 64 hexadecimal digits.
  public func hexadecimal() -> String { Self.hexadecimal(bytes()) }

  /// A hash as hexadecimal digits: two for each byte.
  public static func hexadecimal(_ hash: [UInt8]) -> String {
    hash.map { byte in
      let digits = String(byte, radix: 16)
      return digits.count < 2 ? "0" + digits : digits
    }.joined()
  }

  /// The padding: one bit, zeroes up to 56 bytes of a block, the number of bits.
  private mutating func end() {
    let bits = count &* 8
    update([0x80])
    while rest.count != 56 { update([0]) }
    update((0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * $0)) })
  }

  private mutating func takeBlock() {
    for index in 0..<16 {
      schedule[index] = rest[index * 4..<index * 4 + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    rest.removeAll(keepingCapacity: true)
    for index in 16..<64 {
      let (a, b) = (schedule[index - 15], schedule[index - 2])
      let first = Self.turned(a, 7) ^ Self.turned(a, 18) ^ a >> 3
      let second = Self.turned(b, 17) ^ Self.turned(b, 19) ^ b >> 10
      schedule[index] = schedule[index - 16] &+ first &+ schedule[index - 7] &+ second
    }
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    for index in 0..<64 {
      let sum = Self.turned(e, 6) ^ Self.turned(e, 11) ^ Self.turned(e, 25)
      let first = h &+ sum &+ ((e & f) ^ (~e & g)) &+ Self.constants[index] &+ schedule[index]
      let other = Self.turned(a, 2) ^ Self.turned(a, 13) ^ Self.turned(a, 22)
      let second = other &+ ((a & b) ^ (a & c) ^ (b & c))
      (h, g, f, e) = (g, f, e, d &+ first)
      (d, c, b, a) = (c, b, a, first &+ second)
    }
    for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
  }

  private static func turned(_ word: UInt32, _ bits: UInt32) -> UInt32 {
    word >> bits | word << (32 - bits)
  }

  /// The first 32 bits of the fractions of the cube roots of the first 64 primes: computed, so that
  /// there is no digit to mistype.
  private static let constants: [UInt32] = {
    var primes: [UInt64] = []
    var next: UInt64 = 2
    while primes.count < 64 {
      if primes.allSatisfy({ next % $0 != 0 }) { primes.append(next) }
      next += 1
    }
    return primes.map { prime in
      // floor(cuberoot(prime) * 2^32), by bits: its cube is at most prime * 2^96.
      var root: UInt64 = 0
      for bit in stride(from: 35, through: 0, by: -1) {
        let attempt = root | 1 << UInt64(bit)
        if Self.cubeIsAtMost(attempt, prime) { root = attempt }
      }
      return UInt32(truncatingIfNeeded: root)
    }
  }()

  /// Whether root³ <= prime * 2^96; root is below 2^36, so its cube is below 2^108.
  private static func cubeIsAtMost(_ root: UInt64, _ prime: UInt64) -> Bool {
    let square = root.multipliedFullWidth(by: root)
    let low = square.low.multipliedFullWidth(by: root)
    let high = square.high &* root &+ low.high
    // The cube is high * 2^64 + low, the limit prime * 2^32 * 2^64: no prime's root is whole.
    return high < prime << 32
  }
}
