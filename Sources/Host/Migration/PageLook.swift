/// What a packet's pages look like: a glance at some bytes, which costs a microsecond and not an
/// encoding.
///
/// Of up to eight pages 64 bytes each are looked at, from all over the page. Random bytes have 57
/// different values among 64; text, code, pointers and numbers have 40 or fewer.
public enum PageLook: Int, CaseIterable, Sendable {
  /// A codec will find something.
  case plain
  /// Some pages are, others are noise.
  case mixed
  /// Random, encrypted or compressed. A codec may find repetitions that are far from each other.
  case noise

  /// Looks.
  ///
  /// - Parameters:
  ///   - host: where the pages lie.
  ///   - places: the pages, counted from `host`.
  ///   - pageSize: at least 512.
  public init(
    _ host: UnsafeRawPointer, _ places: UnsafeBufferPointer<UInt64>, pageSize: Int
  ) {
    let looks = min(places.count, 8)
    var noisy = 0
    for look in 0..<looks {
      // Not every sixteenth of 128, for guests lay things out in powers of two.
      let apart = places.count / looks
      let page = look * places.count / looks + look * 5 % apart
      // A page that the caller has: `page` is less than (look + 1) * count / looks.
      if Self.distinct(host + Int(places[page]), pageSize) >= 48 { noisy += 1 }
    }
    self = noisy * 8 <= looks ? .plain : noisy * 8 >= looks * 7 ? .noise : .mixed
  }

  /// How many values 64 bytes of a page have.
  private static func distinct(_ page: UnsafeRawPointer, _ size: Int) -> Int {
    let stride = size / 4
    var seen: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    for part in 0..<8 {
      // Two words from each quarter of the page. They lie in it: a stride is 128 or more, and what
      // is added is 16 less.
      let at = part / 2 * stride + (part / 2) * 40 % (stride - 15) + part % 2 * 8
      var word = page.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      for _ in 0..<8 {
        let bit: UInt64 = 1 << (word & 63)
        switch (word >> 6) & 3 {
        case 0: seen.0 |= bit
        case 1: seen.1 |= bit
        case 2: seen.2 |= bit
        default: seen.3 |= bit
        }
        word >>= 8
      }
    }
    return seen.0.nonzeroBitCount + seen.1.nonzeroBitCount + seen.2.nonzeroBitCount
      + seen.3.nonzeroBitCount
  }
}
