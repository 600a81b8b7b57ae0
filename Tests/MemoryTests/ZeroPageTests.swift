import Glibc
import Memory
import TestSupport
import Testing

@Suite("Zero pages")
struct ZeroPageTests {
  @Test("Every byte position counts", arguments: [8, 16, 4096, 8192, 16384, 65536, 1 << 17])
  func everyByte(size: Int) {
    withPage(size) { page in
      #expect(ZeroPage.isZero(page, count: size))
      var missed: [Int] = []
      for position in 0..<size {
        page.storeBytes(of: 1 << UInt8(position & 7), toByteOffset: position, as: UInt8.self)
        if ZeroPage.isZero(page, count: size) { missed.append(position) }
        page.storeBytes(of: 0, toByteOffset: position, as: UInt8.self)
      }
      #expect(missed == [])
      #expect(ZeroPage.isZero(page, count: size))
    }
  }

  @Test(
    "Big pages: every byte near an edge of a piece, and others by chance",
    arguments: [1 << 20, 2 << 20])
  func bigPages(size: Int) {
    var generator = SeededGenerator(seed: 3)
    var positions = (0..<2000).map { _ in Int.random(in: 0..<size, using: &generator) }
    for edge in stride(from: 0, through: size, by: 1 << 16) {
      positions += (max(0, edge - 9)..<min(size, edge + 9))
    }
    withPage(size) { page in
      #expect(ZeroPage.isZero(page, count: size))
      for position in positions {
        page.storeBytes(of: 0x80, toByteOffset: position, as: UInt8.self)
        #expect(!ZeroPage.isZero(page, count: size), "byte \(position)")
        page.storeBytes(of: 0, toByteOffset: position, as: UInt8.self)
      }
    }
  }

  @Test("What lies before and behind the page does not count")
  func surroundings() {
    withPage(3 * 4096) { memory in
      memset(memory, 0xff, 3 * 4096)
      memset(memory + 4096, 0, 4096)
      #expect(ZeroPage.isZero(memory + 4096, count: 4096))
      #expect(!ZeroPage.isZero(memory + 4096 - 8, count: 4096))
      #expect(!ZeroPage.isZero(memory + 4096 + 8, count: 4096))
    }
  }

  /// `size` zero bytes, freed afterwards.
  private func withPage(_ size: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
    let page = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
    defer { page.deallocate() }
    memset(page, 0, size)
    body(page)
  }
}
