import Testing
import Wire

@Suite("The hash of pages")
struct PageHashTests {
  private static let key = PageHashKey(Array(UInt8(0)..<16))!

  /// The vectors that come with SipHash: under the key 00 01 … 0f, of the bytes 00 01 … up to so
  /// many.
  static let vectors: [(Int, String)] = [
    (0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
    (2, "8177228da4a45dc7fca38bdef60affe4"), (7, "a1f1ebbed8dbc153c0b84aa61ff08239"),
    (8, "3b62a9ba6258f5610f83e264f31497b4"), (9, "264499060ad9baabc47f8b02bb6d71ed"),
    (15, "5493e99933b0a8117e08ec0f97cfc3d9"), (16, "6ee2a4ca67b054bbfd3315bf85230577"),
    (31, "2939b0183223fafc1723de4f52c43d35"), (32, "7c3956ca5eeafc3e363e9d556546eb68"),
    (63, "5150d1772f50834a503e069a973fbd7c"),
  ]

  @Test("SipHash-2-4-128's own vectors", arguments: vectors)
  func official(count: Int, text: String) {
    let message = (0..<count).map { UInt8($0) }
    let hash = message.withUnsafeBytes { Self.key.hash($0) }
    #expect(hash.bytes == bytes(text))
    // As it comes from the wire, wherever it lies there.
    let shifted = [0xff] + hash.bytes
    #expect(shifted.withUnsafeBytes { PageHash($0, at: 1) } == hash)
  }

  @Test("Every bit of a page and of the key counts")
  func bits() {
    var page = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let whole = page.withUnsafeBytes { Self.key.hash($0) }
    for at in [0, 7, 8, 2048, 4095] {
      for bit in 0..<8 {
        page[at] ^= 1 << bit
        #expect(page.withUnsafeBytes { Self.key.hash($0) } != whole)
        page[at] ^= 1 << bit
      }
    }
    for at in 0..<16 {
      var other = Self.key.bytes
      other[at] ^= 0x80
      #expect(page.withUnsafeBytes { PageHashKey(other)!.hash($0) } != whole)
    }
  }

  @Test("A key has sixteen bytes, and two are never the same")
  func keys() {
    #expect(Self.key.bytes == Array(0..<16))
    #expect(PageHashKey(Array(0..<15)) == nil && PageHashKey(Array(0..<17)) == nil)
    let keys = Set((0..<100).map { _ in PageHashKey.random() })
    #expect(keys.count == 100)
    for key in keys { #expect(PageHashKey(key.bytes) == key) }
  }
}
