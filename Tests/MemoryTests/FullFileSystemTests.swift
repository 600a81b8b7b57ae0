import Foundation
import Memory
import System
import TestSupport
import Testing

@Suite(
  "RAM blocks on a full file system",
  .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"))
struct FullFileSystemTests {
  @Test("No room is ENOSPC with the block's name, not a SIGBUS, and what was there stays")
  func full() throws {
    let system = try SmallFileSystem("size=3m")
    let file = open(system.path + "/block", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0)
    // Far longer than the file system: a guest may be sparse.
    let block = try RAMBlock(name: "pc.ram", length: 64 << 20, pageSize: 4096, emptyFile: file)
    var written = 0
    var failure: SystemError?
    for chunk in 0..<64 {
      do {
        try block.reserve(pageAt: chunk << 20)
        memset(block.base + chunk << 20, 0x11, 1 << 20)
        written += 1
      } catch {
        failure = error
        break
      }
    }
    #expect((1...3).contains(written))
    #expect(failure == SystemError("writing RAM block pc.ram", errno: ENOSPC))
    #expect(block.reservedBytes == written << 20)
    #expect(!block.mayHoldData(pageAt: written << 20))
    // Clearing a page that could not be had is still right: it is zero.
    try block.clear(pageAt: written << 20)
    for chunk in 0..<written {
      #expect(block.base.load(fromByteOffset: chunk << 20, as: UInt8.self) == 0x11)
    }
    #expect(throws: SystemError.self) { try block.reserve(pageAt: 40 << 20) }
  }

  @Test("A file that existed needs no room to clear its holes and to write what is memory")
  func existing() throws {
    let system = try SmallFileSystem("size=8m")
    let page = 4096
    func file() -> Int32 { open(system.path + "/block", O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
    do {
      let block = try RAMBlock(name: "pc.ram", length: 16 << 20, pageSize: page, emptyFile: file())
      try block.reserve(pageAt: 2 << 20)
      memset(block.base + 2 << 20, 1, 1 << 20)
    }
    try system.fill()
    let block = try RAMBlock(
      name: "pc.ram", length: 16 << 20, pageSize: page, existingFile: file(), writable: true)
    for offset in stride(from: 0, to: block.length, by: page) {
      let isData = (2 << 20..<3 << 20).contains(offset)
      #expect(block.mayHoldData(pageAt: offset) == isData)
      if isData, offset / page % 2 == 0 {
        try block.reserve(pageAt: offset)
        memset(block.base + offset, 2, page)
      } else {
        try block.clear(pageAt: offset)
      }
    }
    for offset in stride(from: 2 << 20, to: 3 << 20, by: page) {
      let expected: UInt8 = offset / page % 2 == 0 ? 2 : 0
      #expect(block.base.load(fromByteOffset: offset, as: UInt8.self) == expected)
    }
    #expect(throws: SystemError("writing RAM block pc.ram", errno: ENOSPC)) {
      try block.reserve(pageAt: 0)
    }
  }

  @Test("Room that is made can be used")
  func roomAgain() throws {
    let system = try SmallFileSystem("size=2m")
    let ballast = open(system.path + "/ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(write(ballast, [UInt8](repeating: 1, count: 3 << 19), 3 << 19) == 3 << 19)
    let file = open(system.path + "/block", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    let block = try RAMBlock(name: "pc.ram", length: 1 << 20, pageSize: 4096, emptyFile: file)
    #expect(throws: SystemError("writing RAM block pc.ram", errno: ENOSPC)) {
      try block.reserve(pageAt: 0)
    }
    #expect(ftruncate(ballast, 0) == 0)
    try block.reserve(pageAt: 0)
    memset(block.base, 0x22, 1 << 20)
    #expect(block.reservedBytes == 1 << 20)
    close(ballast)
  }
}
