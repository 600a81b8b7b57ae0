import Glibc

/// How a page of a reference image is related to the page that is sent.
enum Nearness: CaseIterable {
  /// The same.
  case same
  /// The same but for a few bytes.
  case close
  /// The same in one half.
  case half
  /// The same, eight bytes further on.
  case shifted
  /// Other in every byte.
  case opposite
  /// Nothing in common: noise, or a page that was never written.
  case unrelated, zero

  /// Makes `page` that of `original`, which has as many bytes: a multiple of 16.
  func fill(
    _ page: UnsafeMutableRawBufferPointer, _ original: UnsafeRawBufferPointer,
    _ random: inout Seeded
  ) {
    page.copyMemory(from: original)
    switch self {
    case .same: break
    case .close:
      for _ in 0..<8 { page[Int.random(in: page.indices, using: &random)] ^= 0x40 }
    case .half:
      for at in page.indices.suffix(page.count / 2) { page[at] = page[at] &* 5 &+ 1 }
    case .shifted:
      page[8...].copyBytes(from: original.dropLast(8))
    case .opposite:
      for at in page.indices { page[at] ^= 0xff }
    case .unrelated: Content.random.fill(page.baseAddress!, page.count, &random)
    case .zero: page.initializeMemory(as: UInt8.self, repeating: 0)
    }
  }
}

extension Block {
  /// A reference image for the pages of `source` at `offsets`, read-only; no other page of it may be
  /// touched. `nearness` is told a page's number in `offsets`.
  convenience init(
    referenceOf source: Block, _ offsets: [UInt64], _ random: inout Seeded,
    _ nearness: (Int) -> Nearness
  ) {
    self.init(pageSize: source.pageSize, offsets: offsets, kind: .reference)
    for (number, offset) in offsets.enumerated() {
      // A page that `init` has mapped.
      let page = UnsafeMutableRawBufferPointer(start: page(at: offset), count: pageSize)
      nearness(number).fill(page, source.bytes(at: offset), &random)
    }
    allow(.reading)
  }

  /// A copy of a reference image, in another place.
  convenience init(copyOf image: Block) {
    self.init(pageSize: image.pageSize, offsets: image.offsets, kind: .reference)
    for offset in offsets { memcpy(page(at: offset), image.page(at: offset), pageSize) }
    allow(.reading)
  }
}
