/// The hash of a page: SipHash-2-4 with 128 bits of output, under a key that is drawn anew for each
/// migration (docs/LINK.md section 5.1).
///
/// Nobody knew the key when the pages were written, so no guest has two that differ and have the
/// same hash.
public struct PageHash: Hashable, Sendable {
  /// Bytes on the wire.
  public static let size = 16

  /// The first eight bytes of the output, least significant first.
  public var first: UInt64
  /// The other eight.
  public var second: UInt64

  /// A hash by its halves.
  public init(first: UInt64, second: UInt64) { (self.first, self.second) = (first, second) }

  /// Takes one from the wire. `bytes` has at least `offset + size` of them.
  public init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    precondition(offset >= 0 && offset + Self.size <= bytes.count)
    // Inside, as was just seen.
    first = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    second = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
  }

  /// As on the wire: in SipHash's own order.
  public var bytes: [UInt8] { first.leastFirst + second.leastFirst }
}

/// What the pages of a migration are hashed with: sixteen bytes.
public struct PageHashKey: Hashable, Sendable {
  /// Bytes of a key.
  public static let size = 16

  private let k0: UInt64
  private let k1: UInt64

  /// A key; nil when it does not have sixteen bytes.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == Self.size else { return nil }
    k0 = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    k1 = bytes.dropFirst(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private init(_ k0: UInt64, _ k1: UInt64) { (self.k0, self.k1) = (k0, k1) }

  /// A new one, which nobody can know.
  public static func random() -> PageHashKey {
    var random = SystemRandomNumberGenerator()
    return PageHashKey(random.next(), random.next())
  }

  /// As in the hello.
  public var bytes: [UInt8] { k0.leastFirst + k1.leastFirst }

  /// The hash of a page, or of any bytes. 3 GB/s on one thread: a round is as long as what its
  /// words wait for, and two pages at a time were no faster.
  public func hash(_ bytes: UnsafeRawBufferPointer) -> PageHash {
    var state = SipState(k0, k1)
    let words = bytes.count & ~7
    var at = 0
    while at < words {
      // Eight bytes that are inside: `at` is below a multiple of eight that is.
      state.take(
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)))
      at &+= 8
    }
    // What is left of the last word, and the length.
    var last = UInt64(truncatingIfNeeded: bytes.count) << 56
    for index in words..<bytes.count { last |= UInt64(bytes[index]) << UInt64((index - words) * 8) }
    state.take(last)
    return state.finish()
  }
}

/// The four words of SipHash-2-4, for an output of 128 bits.
private struct SipState {
  private var v0: UInt64
  private var v1: UInt64
  private var v2: UInt64
  private var v3: UInt64

  @inline(__always)
  init(_ k0: UInt64, _ k1: UInt64) {
    v0 = k0 ^ 0x736f_6d65_7073_6575
    v1 = k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
    v2 = k0 ^ 0x6c79_6765_6e65_7261
    v3 = k1 ^ 0x7465_6462_7974_6573
  }

  @inline(__always)
  private mutating func round() {
    v0 &+= v1
    v2 &+= v3
    v1 = (v1 &<< 13 | v1 &>> 51) ^ v0
    v3 = (v3 &<< 16 | v3 &>> 48) ^ v2
    v0 = v0 &<< 32 | v0 &>> 32
    v2 &+= v1
    v0 &+= v3
    v1 = (v1 &<< 17 | v1 &>> 47) ^ v2
    v3 = (v3 &<< 21 | v3 &>> 43) ^ v0
    v2 = v2 &<< 32 | v2 &>> 32
  }

  @inline(__always)
  mutating func take(_ word: UInt64) {
    v3 ^= word
    round()
    round()
    v0 ^= word
  }

  @inline(__always)
  mutating func finish() -> PageHash {
    v2 ^= 0xee
    for _ in 0..<4 { round() }
    let first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= 0xdd
    for _ in 0..<4 { round() }
    return PageHash(first: first, second: v0 ^ v1 ^ v2 ^ v3)
  }
}

extension UInt64 {
  fileprivate var leastFirst: [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: self &>> UInt64($0 * 8)) }
  }
}
