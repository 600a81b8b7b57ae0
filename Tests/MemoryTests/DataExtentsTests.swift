import Foundation
import Memory
import TestSupport
import Testing

@Suite("Data extents")
struct DataExtentsTests {
  @Test("Extents cover what was written, in order, in whole pages; the rest is zero")
  func random() throws {
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<20 {
      let chunks = 24
      let block = try RAMBlock(memfd: "extents", length: chunks << 20, pageSize: 4096)
      let used = Set((0..<8).map { _ in Int.random(in: 0..<chunks, using: &generator) })
      for chunk in used {
        try block.reserve(pageAt: chunk << 20)
        memset(block.base + chunk << 20 + 4096, 0x99, 4096)
      }
      let extents = try block.dataExtents()
      // Neighbours are one extent.
      var expected: [Range<Int>] = []
      for chunk in used.sorted() {
        if let last = expected.last, last.upperBound == chunk << 20 {
          expected[expected.count - 1] = last.lowerBound..<(chunk + 1) << 20
        } else {
          expected.append(chunk << 20..<(chunk + 1) << 20)
        }
      }
      #expect(extents == expected)
    }
  }

  @Test(
    "A file whose data ends inside a page, or between pages, gives whole pages within the block")
  func unaligned() throws {
    let folder = try TemporaryFolder(.memory(bytes: 1 << 20))
    // 16 KiB pages on a file system of 4 KiB blocks: data begins and ends inside pages.
    let file = open(folder("block"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(ftruncate(file, 10 << 14) == 0)
    let bytes = [UInt8](repeating: 1, count: 4096)
    for at in [1 << 14 + 4096, 3 << 14, (4 << 14) + 8192, (10 << 14) - 4096] {
      try #require(pwrite(file, bytes, bytes.count, off_t(at)) == bytes.count)
    }
    let block = try RAMBlock(name: "x", length: 10 << 14, pageSize: 1 << 14, existingFile: file)
    let extents = try block.dataExtents()
    #expect(extents.allSatisfy { $0.lowerBound % (1 << 14) == 0 && $0.upperBound % (1 << 14) == 0 })
    #expect(zip(extents, extents.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    #expect(extents.last?.upperBound == block.length)
    for page in [1, 3, 4, 9] {
      #expect(extents.contains { $0.contains(page << 14) }, "page \(page)")
    }
    #expect(!extents.contains { $0.contains(0) } && !extents.contains { $0.contains(6 << 14) })
  }
}
