// The codec: replace it. Nothing here may trap: a trap ends the host.
//
// This one leaves out words of zeroes: of each 64 words, a bitmap of those that are not zero, then those.

private let groupSize = 64 * 8  // divides every page size

/// Compresses `pages` into `out`. Returns the compressed size, nil when it would be more than `out` can hold: the
/// pages are then sent as they are. `pages` is a private copy, which holds still.
func encode(_ out: UnsafeMutableRawBufferPointer, _ pages: UnsafeRawBufferPointer) -> Int? {
  var used = 0
  for start in stride(from: 0, to: pages.count, by: groupSize) {
    guard out.count - used >= 8 else { return nil }
    let mapPlace = used
    var map: UInt64 = 0
    used += 8
    for index in 0..<64 {
      let word = pages.loadUnaligned(fromByteOffset: start + index * 8, as: UInt64.self)
      if word == 0 { continue }
      guard out.count - used >= 8 else { return nil }
      out.storeBytes(of: word, toByteOffset: used, as: UInt64.self)
      used += 8
      map |= 1 << UInt64(index)
    }
    out.storeBytes(of: map, toByteOffset: mapPlace, as: UInt64.self)
  }
  return used
}

/// Decompresses `body` into exactly all of `pages`. False when `body` is anything else than that: the bytes come
/// from the network, and nothing about them is sure.
func decode(_ pages: UnsafeMutableRawBufferPointer, _ body: UnsafeRawBufferPointer) -> Bool {
  var used = 0
  for start in stride(from: 0, to: pages.count, by: groupSize) {
    guard body.count - used >= 8 else { return false }
    let map = body.loadUnaligned(fromByteOffset: used, as: UInt64.self)
    used += 8
    for index in 0..<64 {
      var word: UInt64 = 0
      if map >> UInt64(index) & 1 != 0 {
        guard body.count - used >= 8 else { return false }
        word = body.loadUnaligned(fromByteOffset: used, as: UInt64.self)
        used += 8
      }
      pages.storeBytes(of: word, toByteOffset: start + index * 8, as: UInt64.self)
    }
  }
  return used == body.count
}
