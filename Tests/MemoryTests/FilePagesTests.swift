import Foundation
import Memory
import System
import TestSupport
import Testing

@Suite(
  "What pages memory comes in",
  .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"))
struct FilePagesTests {
  static let page = 4096

  private func block(_ system: SmallFileSystem, length: Int) throws -> RAMBlock {
    let file = open(system.path + "/block", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0)
    return try RAMBlock(name: "pc.ram", length: length, pageSize: Self.page, emptyFile: file)
  }

  @Test(
    "A tmpfs that has huge pages, and one that has not",
    arguments: ["never", "within_size", "advise", "always"])
  func tmpfs(huge: String) throws {
    let big = FilePages.hugeSize
    try #require(big > FilePages.base, "this kernel has no transparent huge pages")
    let system = try SmallFileSystem("size=64m,huge=\(huge)")
    let block = try block(system, length: 16 * big + 3 * Self.page)
    #expect(block.pages == FilePages(size: huge == "never" ? 4096 : big, fileSystem: .tmpfs))
    #expect(Int(bitPattern: block.base) % big == 0)
    #expect(block.reservingTime == 0)
    // In the first, the fifth, and the short piece at the end.
    for offset in [big - Self.page, 4 * big, 16 * big] {
      try block.reserve(pageAt: offset)
      memset(block.base + offset, 0x5a, Self.page)
    }
    let chunk = huge == "never" ? 1 << 20 : big
    #expect(block.reservedBytes >= 2 * chunk && block.reservedBytes <= 3 * chunk)
    #expect(block.reservingTime > 0)
    var found = FoundPages()
    found.look(at: block.descriptor, length: block.length)
    // A look makes no memory of holes.
    let extents = try block.dataExtents()
    #expect(extents.reduce(0) { $0 + $1.count } <= 2 * chunk + big)
    #expect(found.places == 2)
    #expect(found.huge == (huge == "never" ? 0 : 2))
    #expect(found.pageSize == block.pages.size && found.fileSystem == .tmpfs)
    // What is there stays, and what was not is zero.
    #expect(block.base.load(fromByteOffset: 4 * big, as: UInt8.self) == 0x5a)
    #expect(ZeroPage.isZero(block.base + 8 * big, count: Self.page))
  }

  @Test("A block in which no huge page fits has small ones")
  func short() throws {
    let system = try SmallFileSystem("size=8m,huge=always")
    let block = try block(system, length: 1 << 20)
    #expect(!block.pages.isHuge)
    try block.reserve(pageAt: 0)
    var found = FoundPages()
    found.look(at: block.descriptor, length: block.length)
    #expect(found.places == 0 && found.fileSystem == nil)
  }

  @Test("Huge pages that do not fit are an error, and no signal")
  func full() throws {
    let system = try SmallFileSystem("size=7m,huge=within_size")
    let block = try block(system, length: 64 << 20)
    var failure: SystemError?
    var chunks = 0
    for offset in stride(from: 0, to: block.length, by: FilePages.hugeSize) {
      do {
        try block.reserve(pageAt: offset)
        memset(block.base + offset, 1, min(FilePages.hugeSize, block.length - offset))
        chunks += 1
      } catch {
        failure = error
        break
      }
    }
    #expect(failure?.errno == ENOSPC)
    #expect((1...3).contains(chunks))
  }
}
