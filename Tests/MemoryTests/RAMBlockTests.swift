import Foundation
import Memory
import System
import TestSupport
import Testing

@Suite("RAM blocks")
struct RAMBlockTests {
  static let page = 4096
  static let chunk = 1 << 20

  /// What a block's file may be.
  enum Home: CaseIterable { case memfd, file }

  /// A new block of `length` bytes, and the folder that holds its file if it has one.
  private func makeBlock(
    _ home: Home, length: Int, pageSize: Int = page
  ) throws -> (RAMBlock, TemporaryFolder?) {
    switch home {
    case .memfd: return (try RAMBlock(memfd: "test", length: length, pageSize: pageSize), nil)
    case .file:
      let folder = try TemporaryFolder(.memory(bytes: length))
      let file = open(folder("block"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      try #require(file >= 0)
      return (
        try RAMBlock(name: "test", length: length, pageSize: pageSize, emptyFile: file), folder
      )
    }
  }

  @Test("Memory that is mapped in a block's place is noticed", arguments: Home.allCases)
  func displaced(home: Home) throws {
    let (block, folder) = try makeBlock(home, length: 4 * Self.page)
    defer { folder?.remove() }
    #expect(block.isMapped)
    // The third page of the block's own mapping.
    let page = block.base + 2 * Self.page
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    try #require(mmap(page, Self.page, PROT_READ | PROT_WRITE, flags, -1, 0) == page)
    #expect(!block.isMapped)
    // The block's own memory again, but that of another page.
    let shared = MAP_SHARED | MAP_FIXED
    try #require(mmap(page, Self.page, PROT_READ, shared, block.descriptor, 0) == page)
    #expect(!block.isMapped)
  }

  @Test("A new block is one hole that reads as zeroes", arguments: Home.allCases)
  func hole(home: Home) throws {
    let length = 5 * Self.chunk + 3 * Self.page
    let (block, folder) = try makeBlock(home, length: length)
    #expect(block.length == length && block.pageCount == length / Self.page)
    #expect(block.reservedBytes == 0)
    #expect(try block.dataExtents() == [])
    #expect(try allocated(block) == 0)
    var status = stat()
    #expect(fstat(block.descriptor, &status) == 0 && status.st_size == length)
    for offset in stride(from: 0, to: length, by: Self.page) {
      #expect(!block.mayHoldData(pageAt: offset))
      #expect(ZeroPage.isZero(block.base + offset, count: Self.page))
    }
    _ = folder
  }

  @Test("Reserving makes a chunk memory, once, and leaves the rest", arguments: Home.allCases)
  func reserve(home: Home) throws {
    let (block, folder) = try makeBlock(home, length: 4 * Self.chunk)
    let offset = 2 * Self.chunk + 5 * Self.page
    try block.reserve(pageAt: offset)
    #expect(block.reservedBytes == Self.chunk)
    #expect(
      block.mayHoldData(pageAt: 2 * Self.chunk) && block.mayHoldData(pageAt: 3 * Self.chunk - 1))
    #expect(
      !block.mayHoldData(pageAt: 2 * Self.chunk - 1) && !block.mayHoldData(pageAt: 3 * Self.chunk))
    #expect(try block.dataExtents() == [2 * Self.chunk..<3 * Self.chunk])
    #expect(try allocated(block) == Self.chunk)
    memset(block.base + offset, 0xaa, Self.page)
    try block.reserve(pageAt: offset)
    #expect(block.reservedBytes == Self.chunk)
    #expect(block.base.load(fromByteOffset: offset, as: UInt8.self) == 0xaa)
    _ = folder
  }

  @Test("The last chunk may be short", arguments: Home.allCases)
  func tail(home: Home) throws {
    let length = Self.chunk + 3 * Self.page
    let (block, folder) = try makeBlock(home, length: length)
    try block.reserve(pageAt: length - Self.page)
    memset(block.base + length - Self.page, 0x55, Self.page)
    #expect(try block.dataExtents() == [Self.chunk..<length])
    try block.reserve(pageAt: 0)
    #expect(block.reservedBytes == length)
    #expect(try allocated(block) == length)
    _ = folder
  }

  @Test(
    "Clearing zeroes exactly one page, and costs nothing where nothing was written",
    arguments: Home.allCases)
  func clear(home: Home) throws {
    let (block, folder) = try makeBlock(home, length: 2 * Self.chunk)
    try block.clear(pageAt: Self.chunk)
    #expect(block.reservedBytes == 0)
    try block.reserve(pageAt: 0)
    memset(block.base, 0xee, 3 * Self.page)
    try block.clear(pageAt: Self.page)
    #expect(ZeroPage.isZero(block.base + Self.page, count: Self.page))
    #expect(block.base.load(fromByteOffset: Self.page - 1, as: UInt8.self) == 0xee)
    #expect(block.base.load(fromByteOffset: 2 * Self.page, as: UInt8.self) == 0xee)
    #expect(try allocated(block) == Self.chunk)
    _ = folder
  }

  @Test("Pages of other sizes", arguments: [1024, 4096, 16384, 65536, 1 << 21])
  func pageSizes(size: Int) throws {
    let length = 3 * max(size, Self.chunk)
    let block = try RAMBlock(memfd: "big", length: length, pageSize: size)
    #expect(block.pageCount == length / size)
    try block.reserve(pageAt: length - size)
    #expect(block.mayHoldData(pageAt: length - size) && !block.mayHoldData(pageAt: 0))
    memset(block.base + length - size, 1, size)
    try block.clear(pageAt: length - size)
    #expect(ZeroPage.isZero(block.base + length - size, count: size))
  }

  @Test("Many threads reserve and write pages of the same chunks")
  func concurrent() throws {
    let block = try RAMBlock(memfd: "shared", length: 8 * Self.chunk, pageSize: Self.page)
    let threads = 4
    inThreads(threads) { thread in
      for page in stride(from: thread, to: block.pageCount, by: threads) {
        do {
          try block.reserve(pageAt: page * Self.page)
          memset(block.base + page * Self.page, Int32(page % 251 + 1), Self.page)
        } catch { Issue.record(error) }
      }
    }
    #expect(block.reservedBytes == block.length)
    for page in 0..<block.pageCount {
      let (first, last) = (page * Self.page, (page + 1) * Self.page - 1)
      #expect(block.base.load(fromByteOffset: first, as: UInt8.self) == UInt8(page % 251 + 1))
      #expect(block.base.load(fromByteOffset: last, as: UInt8.self) == UInt8(page % 251 + 1))
    }
  }

  @Test("What was written is in the file, and can be mapped again for reading")
  func existing() throws {
    let folder = try TemporaryFolder()
    let file = open(folder("block"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    do {
      let block = try RAMBlock(
        name: "pc.ram", length: 3 * Self.chunk, pageSize: Self.page, emptyFile: file)
      try block.reserve(pageAt: Self.chunk + Self.page)
      memset(block.base + Self.chunk + Self.page, 0x77, Self.page)
    }
    let again = open(folder("block"), O_RDONLY | O_CLOEXEC)
    let block = try RAMBlock(
      name: "pc.ram", length: 3 * Self.chunk, pageSize: Self.page, existingFile: again)
    #expect(block.base.load(fromByteOffset: Self.chunk + Self.page, as: UInt8.self) == 0x77)
    #expect(ZeroPage.isZero(block.base + Self.chunk, count: Self.page))
    // One chunk: as long as a huge page where the file system has those.
    let extents = try block.dataExtents()
    #expect(extents.contains { $0.contains(Self.chunk + Self.page) })
    #expect(extents.reduce(0) { $0 + $1.count } <= max(Self.chunk, FilePages.hugeSize))
  }

  @Test("A file that existed can be written again, and clearing it really clears")
  func writeAgain() throws {
    let folder = try TemporaryFolder(.memory(bytes: 8 << 20))
    try Data(repeating: 0x5a, count: 3 * Self.chunk).write(to: URL(filePath: folder("block")))
    let file = open(folder("block"), O_RDWR | O_CLOEXEC)
    let block = try RAMBlock(
      name: "pc.ram", length: 3 * Self.chunk, pageSize: Self.page, existingFile: file,
      writable: true)
    try block.clear(pageAt: 2 * Self.page)
    try block.reserve(pageAt: Self.chunk)
    memset(block.base + Self.chunk, 1, Self.page)
    let bytes = try Data(contentsOf: URL(filePath: folder("block")))
    for page in 0..<bytes.count / Self.page {
      let expected: UInt8 = page == 2 ? 0 : page == Self.chunk / Self.page ? 1 : 0x5a
      #expect(bytes[page * Self.page..<(page + 1) * Self.page].allSatisfy { $0 == expected })
    }
  }

  @Test("Released memory is a hole again and can be reserved anew", arguments: Home.allCases)
  func release(home: Home) throws {
    let (block, folder) = try makeBlock(home, length: 8 * Self.chunk)
    for chunk in [0, 1, 3, 6] {
      try block.reserve(pageAt: chunk * Self.chunk)
      memset(block.base + chunk * Self.chunk, 7, Self.chunk)
    }
    try block.release(from: 8 * Self.chunk)
    #expect(block.reservedBytes == 4 * Self.chunk)
    try block.release(from: Self.chunk + 1)
    #expect(block.reservedBytes == 2 * Self.chunk)
    #expect(try allocated(block) == 2 * Self.chunk)
    #expect(try block.dataExtents() == [0..<2 * Self.chunk])
    #expect(!block.mayHoldData(pageAt: 3 * Self.chunk) && block.mayHoldData(pageAt: Self.chunk))
    try block.reserve(pageAt: 3 * Self.chunk)
    #expect(ZeroPage.isZero(block.base + 3 * Self.chunk, count: Self.chunk))
    #expect(block.base.load(fromByteOffset: 2 * Self.chunk - 1, as: UInt8.self) == 7)
    try block.release(from: 0)
    #expect(block.reservedBytes == 0)
    #expect(try allocated(block) == 0)
    _ = folder
  }

  @Test("A descriptor that cannot be used is an error, and is closed")
  func badFiles() throws {
    let file = open("/dev/null", O_RDWR | O_CLOEXEC)
    #expect(throws: SystemError("ftruncate", errno: EINVAL)) {
      _ = try RAMBlock(name: "x", length: Self.page, pageSize: Self.page, emptyFile: file)
    }
    let other = open("/dev/null", O_RDONLY | O_CLOEXEC)
    #expect(throws: SystemError("mmap", errno: ENODEV)) {
      _ = try RAMBlock(name: "x", length: Self.page, pageSize: Self.page, existingFile: other)
    }
  }

  /// Bytes that the block's file takes of its file system.
  private func allocated(_ block: RAMBlock) throws -> Int {
    var status = stat()
    try #require(fstat(block.descriptor, &status) == 0)
    return Int(status.st_blocks) * 512
  }
}
