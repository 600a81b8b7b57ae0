import COLO
import Foundation
import Memory
import SessionReplay
import TestSupport
import Testing

@Suite("The mirror's copy to the guest, interrupted")
struct MirrorCacheTests {
  static let page = 4096

  /// Files as a store has them: opened new, and again by another process.
  struct Files {
    let folder: TemporaryFolder
    let lengths: [Int]

    func block(_ name: String, _ length: Int, again: Bool) throws -> RAMBlock {
      let file = open(folder(name), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      try #require(file >= 0)
      return again
        ? try RAMBlock(
          name: name, length: length, pageSize: page, existingFile: file, writable: true)
        : try RAMBlock(name: name, length: length, pageSize: page, emptyFile: file)
    }

    func all(again: Bool) throws -> (guest: [RAMBlock], mirror: MirrorCache) {
      let guest = try lengths.enumerated().map { try block("ram-\($0)", $1, again: again) }
      let size = MirrorCache.bitmapSize(guest)
      return (
        guest,
        try MirrorCache(
          blocks: try lengths.enumerated().map { try block("block-\($0)", $1, again: again) },
          bitmaps: try ["a", "b"].map { try block("bitmap-\($0)", size, again: again) })
      )
    }
  }

  private func fill(_ block: RAMBlock, _ page: Int, _ byte: UInt8) throws {
    try block.reserve(pageAt: page * Self.page)
    memset(block.base + page * Self.page, Int32(byte), Self.page)
  }

  private func byte(_ block: RAMBlock, _ page: Int) -> UInt8 {
    block.base.load(fromByteOffset: page * Self.page, as: UInt8.self)
  }

  @Test("After any part of it was done, another process does the rest", arguments: 0..<8)
  func partial(done: Int) throws {
    let folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    defer { folder.remove() }
    // Blocks of more than a chunk, of no whole bitmap word, of one page.
    let files = Files(folder: folder, lengths: [700, 65, 1].map { $0 * Self.page })
    var generator = SeededGenerator(seed: UInt64(done))
    var expected: [[UInt8]] = [700, 65, 1].map { [UInt8](repeating: 1, count: $0) }
    do {
      let (guest, mirror) = try files.all(again: false)
      for (block, ram) in guest.enumerated() {
        for page in 0..<ram.pageCount {
          try fill(ram, page, 1)
          // The last pages of the mirror are never written: zero, in a hole.
          guard block > 0 || page < 256 else { continue }
          try fill(mirror.blocks[block], page, 2)
        }
        for page in 0..<ram.pageCount where Int.random(in: 0..<3, using: &generator) == 0 {
          mirror.bitmaps[1][block].set(page)
          expected[block][page] = block > 0 || page < 256 ? 2 : 0
        }
      }
      // One of the parts is done, and of another, the pages but not the bits.
      if done > 0 { try mirror.replay(set: 1, to: guest, part: done - 1, parts: 7) }
      for page in 0..<30 where mirror.bitmaps[1][0].contains(page) { try fill(guest[0], page, 2) }
    }
    let (guest, mirror) = try files.all(again: true)
    #expect(mirror.bitmaps[1].contains { $0.population > 0 })
    #expect(mirror.bitmaps[0].allSatisfy { $0.population == 0 })
    for part in 0..<3 { try mirror.replay(set: 1, to: guest, part: part, parts: 3) }
    for (block, ram) in guest.enumerated() {
      for page in 0..<ram.pageCount {
        #expect(byte(ram, page) == expected[block][page], "block \(block), page \(page)")
      }
    }
    #expect(mirror.bitmaps[1].allSatisfy { $0.population == 0 })
    // Nothing is left, so nothing changes any more.
    for page in 0..<256 { try fill(mirror.blocks[0], page, 9) }
    try mirror.replay(set: 1, to: guest)
    #expect(byte(guest[0], 0) == expected[0][0])
  }

  @Test("Bits beyond the last page, as a damaged file may have them, are no pages")
  func beyond() throws {
    let guest = [try RAMBlock(memfd: "ram", length: 65 * Self.page, pageSize: Self.page)]
    let bitmap = try RAMBlock(
      memfd: "bitmap", length: MirrorCache.bitmapSize(guest), pageSize: 4096)
    try bitmap.reserve(pageAt: 0)
    memset(bitmap.base, 0xff, 16)
    let mirror = try MirrorCache(
      blocks: guest.map { try RAMBlock(memfd: "m", length: $0.length, pageSize: $0.pageSize) },
      bitmaps: [bitmap, try RAMBlock(memfd: "b", length: bitmap.length, pageSize: 4096)])
    try fill(mirror.blocks[0], 64, 3)
    try mirror.replay(set: 0, to: guest)
    #expect(byte(guest[0], 64) == 3 && byte(guest[0], 63) == 0)
  }
}
