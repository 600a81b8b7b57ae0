import Foundation
import Memory
import System
import TestSupport
import Testing

/// Memory that is got before anybody writes to it.
@Suite("Memory got ahead")
struct PreallocatorTests {
  static let page = 4096
  static let chunk = 1 << 20
  static let window = 8 << 20

  private func block(_ chunks: Int, more: Int = 0) throws -> RAMBlock {
    try RAMBlock(memfd: "pc.ram", length: chunks * Self.chunk + more, pageSize: Self.page)
  }

  /// Writes to a chunk as a channel does: all of it, with what belongs there.
  private func write(_ block: RAMBlock, _ chunk: Int) throws {
    try block.reserve(pageAt: chunk * Self.chunk)
    let count = min(Self.chunk, block.length - chunk * Self.chunk)
    memset(block.base + chunk * Self.chunk, Int32(chunk % 250 + 1), count)
  }

  private func isWritten(_ block: RAMBlock, _ chunk: Int) -> Bool {
    let count = min(Self.chunk, block.length - chunk * Self.chunk)
    let bytes = UnsafeRawBufferPointer(start: block.base + chunk * Self.chunk, count: count)
    return bytes.allSatisfy { $0 == UInt8(chunk % 250 + 1) }
  }

  /// Bytes that the block's file takes of its file system.
  private func allocated(_ block: RAMBlock) -> Int {
    var status = stat()
    return fstat(block.descriptor, &status) == 0 ? Int(status.st_blocks) * 512 : -1
  }

  @Test("Chunks behind those written in a row are memory before they are written", arguments: 1...3)
  func ahead(threads: Int) throws {
    let block = try block(64)
    let preallocator = Preallocator([block], threads: threads, window: Self.window)
    // As many as were written before the last one; of the window at least half.
    for (last, ahead) in [(0, 0), (1, 1), (2, 2), (3, 3), (11, 5)] {
      for chunk in 0...last where !block.mayHoldData(pageAt: chunk * Self.chunk) {
        try write(block, chunk)
      }
      let expected = (last + 1 + ahead) * Self.chunk
      #expect(eventually { allocated(block) == expected }, "\(last): \(allocated(block))")
      // They do not count, and are zero.
      #expect(block.reservedBytes == (last + 1) * Self.chunk)
      #expect(!block.mayHoldData(pageAt: (last + 1) * Self.chunk))
    }
    #expect(ZeroPage.isZero(block.base + 12 * Self.chunk, count: 5 * Self.chunk))
    // What is there already takes no more.
    let before = allocated(block)
    try block.reserve(pageAt: 12 * Self.chunk)
    #expect(block.reservedBytes == 13 * Self.chunk)
    #expect(allocated(block) >= before)
    #expect(preallocator.end())
    #expect(allocated(block) == 13 * Self.chunk)
    #expect((0..<12).allSatisfy { isWritten(block, $0) })
  }

  @Test("Nothing is got behind a block's end, and the last chunk may be short")
  func tail() throws {
    let block = try block(5, more: 3 * Self.page)
    let preallocator = Preallocator([block], threads: 2, window: Self.window)
    for chunk in 0..<5 { try write(block, chunk) }
    #expect(eventually { allocated(block) == block.length })
    try write(block, 5)
    #expect(preallocator.end())
    #expect(block.reservedBytes == block.length && allocated(block) == block.length)
    var status = stat()
    #expect(fstat(block.descriptor, &status) == 0 && status.st_size == block.length)
    #expect((0...5).allSatisfy { isWritten(block, $0) })
  }

  @Test("A sparse guest stays sparse: at any time two windows are ahead at the most")
  func sparse() throws {
    let block = try block(512)
    let threads = 2
    let preallocator = Preallocator([block], threads: threads, window: Self.window)
    // One chunk here and there: nothing.
    for chunk in stride(from: 0, to: 64, by: 3) { try write(block, chunk) }
    usleep(20_000)
    #expect(allocated(block) == block.reservedBytes)
    // Rows of four, with holes of the same length.
    var most = 0
    for chunk in 64..<512 where chunk % 8 < 4 {
      try write(block, chunk)
      if chunk == 67 { #expect(eventually { allocated(block) > block.reservedBytes }) }
      most = max(most, allocated(block) - block.reservedBytes)
    }
    #expect(most <= 2 * Self.window + (threads + 4) * Self.chunk, "\(most)")
    #expect(preallocator.end())
    #expect(allocated(block) == block.reservedBytes)
    for chunk in 64..<512 {
      if chunk % 8 < 4 {
        #expect(isWritten(block, chunk))
      } else {
        #expect(!block.mayHoldData(pageAt: chunk * Self.chunk))
      }
    }
  }

  @Test("A chunk with a page that is known to be zero is not got")
  func zero() throws {
    let block = try block(16)
    let preallocator = Preallocator([block], threads: 1, window: Self.window)
    try block.clear(pageAt: 6 * Self.chunk + Self.page)
    let pages = [9 * UInt64(Self.chunk), 9 * UInt64(Self.chunk) + UInt64(Self.page)]
    try pages.withUnsafeBufferPointer { try block.clear(pagesAt: $0) }
    for chunk in 0..<5 { try write(block, chunk) }
    // Four ahead of chunk 4, but for one of them.
    #expect(eventually { allocated(block) == 8 * Self.chunk }, "\(allocated(block))")
    #expect(
      try block.dataExtents() == [0..<6 * Self.chunk, 7 * Self.chunk..<9 * Self.chunk])
    #expect(preallocator.end())
  }

  @Test("Of a file that existed nothing is got ahead")
  func existing() throws {
    let folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    let file = open(folder("block"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0 && ftruncate(file, 16 << 20) == 0)
    let block = try RAMBlock(
      name: "pc.ram", length: 16 << 20, pageSize: Self.page, existingFile: file, writable: true)
    let preallocator = Preallocator([block], threads: 2, window: Self.window)
    for chunk in 0..<8 { try block.reserve(chunk * Self.chunk..<(chunk + 1) * Self.chunk) }
    usleep(20_000)
    #expect(allocated(block) == 8 * Self.chunk)
    #expect(preallocator.end())
    #expect(allocated(block) == 8 * Self.chunk)
  }

  @Test("Without threads blocks are as they were")
  func none() throws {
    let block = try block(8)
    let preallocator = Preallocator([block], threads: 0)
    for chunk in 0..<4 { try write(block, chunk) }
    usleep(20_000)
    #expect(allocated(block) == 4 * Self.chunk)
    // That would be refused of a block whose memory is got ahead.
    try block.release(from: Self.chunk)
    #expect(preallocator.end())
  }

  @Test("After the end memory is got as before, and can be released")
  func afterTheEnd() throws {
    let block = try block(16)
    let preallocator = Preallocator([block], threads: 2, window: Self.window)
    for chunk in 0..<4 { try write(block, chunk) }
    preallocator.finish()
    // Whether helpers have done all by now or not.
    for chunk in 4..<8 { try write(block, chunk) }
    #expect(preallocator.end())
    #expect(allocated(block) == 8 * Self.chunk)
    try write(block, 9)
    #expect(allocated(block) == 9 * Self.chunk && block.reservedBytes == 9 * Self.chunk)
    try block.release(from: 2 * Self.chunk)
    #expect(allocated(block) == 2 * Self.chunk)
    #expect((0..<2).allSatisfy { isWritten(block, $0) })
  }

  @Test(
    "Channels side by side, helpers, and an end in the middle: every byte is there",
    arguments: 0..<12)
  func concurrent(seed: UInt64) throws {
    let block = try block(96)
    let preallocator = Preallocator([block], threads: 3, window: Self.window)
    let channels = 4
    let failures = System.Monitor([SystemError]())
    inThreads(channels + 1) { channel in
      var generator = SeededGenerator(seed: seed &* 8 &+ UInt64(channel))
      guard channel < channels else {
        // Some time while they write.
        usleep(UInt32.random(in: 0...30_000, using: &generator))
        return seed % 2 == 0 ? preallocator.finish() : #expect(preallocator.end())
      }
      // Packets of half a chunk, in turns; whole chunks are missing here and there.
      for packet in stride(from: channel, to: 192, by: channels) where packet / 2 % 16 < 13 {
        let start = packet * Self.chunk / 2
        do throws(SystemError) {
          try block.reserve(pageAt: start)
          memset(block.base + start, Int32(packet / 2 % 250 + 1), Self.chunk / 2)
        } catch { failures.update { $0.append(error) } }
        if Int.random(in: 0..<8, using: &generator) == 0 { usleep(500) }
      }
    }
    #expect(failures.read { $0 } == [])
    #expect(preallocator.end())
    for chunk in 0..<96 {
      if chunk % 16 < 13 {
        #expect(isWritten(block, chunk), "chunk \(chunk)")
      } else {
        #expect(!block.mayHoldData(pageAt: chunk * Self.chunk))
      }
    }
    #expect(block.reservedBytes == 78 * Self.chunk && allocated(block) == 78 * Self.chunk)
  }

  @Test(
    "On a file system that is too small as much fits as without, and then it is an error and no signal",
    .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"),
    arguments: [1, 4], [1, 2])
  func full(threads: Int, step: Int) throws {
    /// - Returns: chunks that could be written, and why there were no more.
    func fill(_ threads: Int) throws -> (Int, SystemError?, RAMBlock) {
      let system = try SmallFileSystem("size=24m")
      let file = open(system.path + "/block", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      let block = try RAMBlock(
        name: "pc.ram", length: 256 << 20, pageSize: Self.page, emptyFile: file)
      let preallocator = Preallocator([block], threads: threads, window: Self.window)
      defer { #expect(preallocator.end()) }
      // First a row, so that much is ahead, and then somewhere else.
      let order = Array(0..<12) + stride(from: 200, to: 256, by: step)
      var written: [Int] = []
      do throws(SystemError) {
        for chunk in order {
          try block.reserve(pageAt: chunk * Self.chunk)
          memset(block.base + chunk * Self.chunk, Int32(chunk % 250 + 1), Self.chunk)
          written.append(chunk)
          // Now and then helpers are ahead.
          if chunk % 4 == 3 { usleep(10_000) }
        }
      } catch {
        #expect(written.allSatisfy { isWritten(block, $0) })
        #expect(block.reservedBytes == written.count * Self.chunk)
        return (written.count, error, block)
      }
      return (written.count, nil, block)
    }
    let (alone, why, _) = try fill(0)
    #expect(why == SystemError("writing RAM block pc.ram", errno: ENOSPC))
    #expect(alone >= 20)
    let (helped, whyHelped, block) = try fill(threads)
    #expect(whyHelped == why)
    #expect(helped == alone)
    // Beyond the chunks that were written only the one that failed has taken what there was.
    #expect(allocated(block) <= (helped + 1) * Self.chunk)
  }
}
