import Memory
import Migration
import Store

/// Some of the pages that guests in stores have, none of them zero: each of a store's as likely as
/// another.
struct PageSample {
  /// Whole pages, one after the other.
  private(set) var bytes: [UInt8] = []
  /// Bytes of a page.
  let pageSize: Int
  /// How many there are.
  var count: Int { bytes.count / pageSize }

  /// Takes as many pages as it can get, up to `most`, and as many of each store.
  ///
  /// - Throws: when a store has no guest, or its pages are of another size than the first one's.
  init(of stores: [String], most: Int, seed: UInt64) throws {
    var random = Generator(state: seed)
    let looks = try stores.map { try Store.Look(at: $0, handedOver: true) }
    let size = looks.first?.manifest.pageSize ?? 4096
    pageSize = size
    for (index, look) in looks.enumerated() {
      guard look.manifest.pageSize == size else {
        throw Failure(
          .usage, stores[index],
          "its guest's pages have \(look.manifest.pageSize) bytes, those before have \(size)")
      }
      try take((most - count) / (looks.count - index), of: look, &random)
    }
  }

  private mutating func take(
    _ most: Int, of look: Store.Look, _ random: inout Generator
  ) throws {
    let size = look.manifest.pageSize
    let blocks = try look.manifest.blocks.map { try look.openBlock($0) }
    var stretches: [Stretch] = []
    var total = 0
    for (index, block) in blocks.enumerated() {
      for extent in try block.dataExtents() {
        stretches.append(Stretch(block: index, start: extent.lowerBound, before: total))
        total += extent.count / size
      }
    }
    // Pages are drawn, and those that are drawn again or are zero put back: of a guest that is large
    // next to the sample that is quick, and of a small one all its pages are found in so many turns.
    var drawn = Set<Int>()
    var taken = 0, turns = 16 * max(most, 1024)
    while taken < most, drawn.count < total, turns > 0 {
      turns -= 1
      let number = Int.random(in: 0..<total, using: &random)
      guard drawn.insert(number).inserted else { continue }
      let (block, offset) = Self.place(number, in: stretches, size)
      // The page is whole: extents lie in their block, which is mapped as long as `blocks` lives.
      let page = UnsafeRawBufferPointer(start: blocks[block].base + offset, count: size)
      if ZeroPage.isZero(page.baseAddress!, count: size) { continue }
      bytes += page
      taken += 1
    }
    withExtendedLifetime(blocks) {}
  }

  /// Pages in a row that may hold data.
  private struct Stretch {
    let block: Int
    /// Where in the block it begins.
    let start: Int
    /// Pages of the stretches before it.
    let before: Int
  }

  /// Where the page with this number is, below as many as there are: a fragmented file has a
  /// great many stretches.
  private static func place(
    _ number: Int, in stretches: [Stretch], _ size: Int
  ) -> (block: Int, offset: Int) {
    // The last stretch that has no more pages before it: between these two.
    var (low, high) = (0, stretches.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if stretches[middle].before <= number { low = middle } else { high = middle }
    }
    return (stretches[low].block, stretches[low].start + (number - stretches[low].before) * size)
  }

  /// The pages in two parts: every tenth, and the others.
  func parted() -> (tenth: [UInt8], others: [UInt8]) {
    var (tenth, others): ([UInt8], [UInt8]) = ([], [])
    for index in 0..<count {
      let page = bytes[index * pageSize..<(index + 1) * pageSize]
      if index % 10 == 9 { tenth += page } else { others += page }
    }
    return (tenth, others)
  }

  /// SplitMix64: the same sample for the same store.
  private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }
}
