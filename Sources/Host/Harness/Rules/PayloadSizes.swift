import Glibc
import PluginAPI

/// `roundtrip/payload-sizes`: payloads of exactly the sizes at which counters and buffers end.
enum PayloadSizes {
  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    let powers =
      context.order.isQuick ? [4096, 65536] : (5...19).map { 1 << $0 } + [3 * 65536, 5 * 65536]
    // As much as the largest of them can need; not zero, which would be one of the zeroes behind.
    var random = context.random("noise")
    let noise = (0...powers.max()! + 3 * library.pageSize).map { _ in
      UInt8.random(in: 1...255, using: &random)
    }
    var met = 0
    for power in powers {
      // How much noise the size before was made of.
      var near: Int?
      for size in [power - 1, power, power + 1] {
        // One page more may be what some formats need for an odd size, or for an even one.
        let fewest = size / library.pageSize + 1
        for pages in [fewest, fewest + 1] where library.supports(library.pageSize, pages) {
          guard try send(size, in: pages, of: noise, near: &near, context, library) else {
            continue
          }
          met += 1
          break
        }
      }
    }
    context.measure("payload.sizes", Double(met), "")
    if met == 0 { throw .skipped("no payload can be made to have a given size") }
  }

  /// Looks for pages of noise and zeroes that become `size` bytes of payload. All that are tried on
  /// the way have to arrive, too. False when there are none.
  ///
  /// - Parameter near: bytes of noise that became about as much, where that is known; those that were
  ///   found, afterwards.
  private static func send(
    _ size: Int, in pages: Int, of noise: [UInt8], near: inout Int?, _ context: Context,
    _ library: Library
  ) throws(Stop) -> Bool {
    let shape = Shape(pageSize: library.pageSize, pageCount: pages)
    let lane = try Lane(context, shape, label: "\(size)", .zero)
    let offsets = Array(lane.source.offsets.prefix(pages))
    defer { lane.close() }
    let all = 0...pages * shape.pageSize
    var made: [Int: Int] = [:]
    func payload(_ count: Int) throws(Stop) -> Int {
      if let size = made[count] { return size }
      fill(lane.source, noise.prefix(count))
      let packet = try lane.send(offsets)
      try lane.deliver(packet)
      made[count] = packet.payload.count
      return packet.payload.count
    }
    func isRight(_ count: Int) throws(Stop) -> Bool {
      guard all.contains(count), try payload(count) == size else { return false }
      near = count
      return true
    }
    // A byte more of noise is a byte more of payload in most formats: a few guesses come close.
    var guess = near ?? size, miss = 0
    for _ in 0..<5 {
      guess = min(max(all.lowerBound, guess), all.upperBound)
      if try isRight(guess) { return true }
      miss = size - (try payload(guess))
      guess += miss
    }
    for count in guess - 4...guess + 4 where try isRight(count) { return true }
    if abs(miss) <= 4 { return false }
    // More noise, more payload: nearly always.
    var (least, most) = (all.lowerBound, all.upperBound)
    while least < most {
      let middle = (least + most) / 2
      if try isRight(middle) { return true }
      if try payload(middle) < size { least = middle + 1 } else { most = middle }
    }
    for count in least - 4...least + 4 where try isRight(count) { return true }
    return false
  }

  /// The first `noise` bytes of all pages together are noise, the rest is zero.
  private static func fill(_ block: Block, _ noise: ArraySlice<UInt8>) {
    var left = noise
    for offset in block.offsets {
      // A page of the block, as long as this.
      let page = UnsafeMutableRawBufferPointer(start: block.page(at: offset), count: block.pageSize)
      let some = left.prefix(page.count)
      page.copyBytes(from: some)
      memset(page.baseAddress! + some.count, 0, page.count - some.count)
      left = left.dropFirst(some.count)
    }
  }
}
