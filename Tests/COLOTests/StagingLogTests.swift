import COLO
import Foundation
import Memory
import SessionReplay
import System
import TestSupport
import Testing

@Suite("The log of a checkpoint's pages")
struct StagingLogTests {
  static let page = 4096

  /// A log, a guest of two blocks, and what the guest should be.
  final class Bench {
    let log: StagingLog
    let pages: RAMBlock
    let journal: RAMBlock
    let guest: [RAMBlock]
    var expected: [[UInt8]]

    init(room: Int, entries: Int, blocks: [Int] = [600, 5]) throws {
      pages = try RAMBlock(memfd: "pages", length: room * page, pageSize: page)
      journal = try RAMBlock(
        memfd: "journal", length: StagingLog.journalSize(pages: entries), pageSize: 4096)
      log = StagingLog(pages: pages, journal: journal)
      guest = try blocks.map { try RAMBlock(memfd: "ram", length: $0 * page, pageSize: page) }
      expected = blocks.map { [UInt8](repeating: 0, count: $0) }
    }

    /// A packet: pages filled with a byte, and zero pages.
    func append(_ block: Int, _ normal: [Int], _ fill: UInt8, zero: [Int] = []) throws {
      var slots = [UInt64](repeating: .max, count: normal.count)
      let offsets = (normal.map { UInt64($0 * page) }, zero.map { UInt64($0 * page) })
      let base = try offsets.0.withUnsafeBufferPointer { normal in
        try offsets.1.withUnsafeBufferPointer { zero in
          try slots.withUnsafeMutableBufferPointer {
            try log.append(block: block, pageShift: 12, normal: normal, zero: zero, slots: $0)
          }
        }
      }
      // Neighbours, and inside the log.
      for (slot, next) in zip(slots, slots.dropFirst()) { #expect(next == slot + UInt64(page)) }
      for slot in slots { memset(base + Int(slot), Int32(fill), page) }
      for index in normal { expected[block][index] = fill }
      for index in zero { expected[block][index] = 0 }
    }

    func expectGuest(_ what: Comment? = nil, location: SourceLocation = #_sourceLocation) {
      for (block, fills) in zip(guest, expected) {
        for (index, fill) in fills.enumerated() {
          let bytes = UnsafeRawBufferPointer(start: block.base + index * page, count: page)
          #expect(
            bytes.allSatisfy { $0 == fill }, "page \(index), \(what ?? "")",
            sourceLocation: location)
        }
      }
    }
  }

  @Test("A page that comes again wins over its earlier self, also as a zero page, and the reverse")
  func duplicates() throws {
    for parts in 1...4 {
      let bench = try Bench(room: 40, entries: 60)
      try bench.append(0, [1, 2, 3, 300], 0x11, zero: [4, 5])
      try bench.append(1, [0, 1], 0x22)
      try bench.append(0, [2, 4], 0x33, zero: [3, 300])
      try bench.append(0, [300], 0x44, zero: [1])
      try bench.append(1, [], 0, zero: [0])
      try bench.append(0, [1], 0x55, zero: [2])
      #expect(bench.log.count == 17 && bench.log.normalCount == 10)
      for part in 0..<parts {
        try bench.log.replay(count: bench.log.count, to: bench.guest, part: part, parts: parts)
      }
      bench.expectGuest("\(parts) parts")
    }
  }

  @Test("Only as many entries as were sealed are copied")
  func sealed() throws {
    let bench = try Bench(room: 40, entries: 60)
    try bench.append(0, [1, 2], 0x11)
    let count = bench.log.count
    let before = bench.expected
    try bench.append(0, [2, 3], 0x22, zero: [1])
    bench.expected = before
    try bench.log.replay(count: count, to: bench.guest)
    bench.expectGuest()
  }

  @Test("Random packets, replayed in any number of parts by threads", arguments: 1...5)
  func random(parts: Int) throws {
    var generator = SeededGenerator(seed: UInt64(parts))
    let bench = try Bench(room: 5000, entries: 8000, blocks: [3000, 300])
    for round in 0..<80 {
      let block = round % 5 == 0 ? 1 : 0
      let all = Array(bench.expected[block].indices).shuffled(using: &generator)
      let count = Int.random(in: 0...60, using: &generator)
      try bench.append(
        block, Array(all[..<count]), UInt8(round + 1),
        zero: Array(all[count..<count + Int.random(in: 0...30, using: &generator)]))
    }
    nonisolated(unsafe) let held = bench  // threads only read it
    inThreads(parts) { part in
      do {
        try held.log.replay(count: held.log.count, to: held.guest, part: part, parts: parts)
      } catch { Issue.record(error) }
    }
    bench.expectGuest()
  }

  @Test("Full: an error, whichever of the two files it is, and what is in it stays good")
  func full() throws {
    for (room, entries) in [(4, 600), (300, 256)] {
      let bench = try Bench(room: room, entries: entries)
      // A journal is rounded up to whole pages: 256 entries.
      let last = room == 4 ? 4 : 256
      for page in stride(from: 0, to: last, by: 2) { try bench.append(0, [page, page + 1], 0x11) }
      let count = bench.log.count
      #expect(count == last)
      #expect(throws: SystemError("a checkpoint larger than the guest's RAM", errno: ENOSPC)) {
        try bench.append(0, [500], 0x22)
      }
      try bench.log.replay(count: count, to: bench.guest)
      bench.expectGuest()
    }
  }

  @Test(
    "Reset: empty, memory given back down to what is to be kept, and good for another checkpoint")
  func reset() throws {
    for keep in [0, 1 << 20, 64 << 20] {
      let bench = try Bench(room: 2048, entries: 4096, blocks: [2048])
      for start in stride(from: 0, to: 2048, by: 128) {
        try bench.append(0, Array(start..<start + 128), 0x11)
      }
      #expect(bench.pages.reservedBytes == 8 << 20)
      try bench.log.replay(count: bench.log.count, to: bench.guest)
      try bench.log.reset(keep: keep)
      #expect(bench.log.count == 0 && bench.log.normalCount == 0)
      #expect(bench.pages.reservedBytes == min(keep, 8 << 20))
      // What the kernel says, too: holes were punched.
      var status = stat()
      fstat(bench.pages.descriptor, &status)
      #expect(Int(status.st_blocks) * 512 == min(keep, 8 << 20))
      try bench.append(0, [7, 2000], 0x33, zero: [8])
      try bench.log.replay(count: bench.log.count, to: bench.guest)
      bench.expectGuest("keep \(keep)")
    }
  }

  @Test("A journal with nonsense in it is an error, never a page outside the guest")
  func damaged() throws {
    let damages: [(Int, UInt64)] = [
      (0, 600), (0, 1 << 47), (0, .max), (0, 2 << 48), (0, 1 << 48 | 5), (1, 4096), (1, .max - 1),
      (1, 1 << 63),
    ]
    for (word, value) in damages {
      let bench = try Bench(room: 16, entries: 256)
      try bench.append(0, [1], 0x11)
      bench.journal.base.storeBytes(of: value, toByteOffset: word * 8, as: UInt64.self)
      #expect(throws: SystemError("a damaged journal", errno: EINVAL), "\(word) \(value)") {
        try bench.log.replay(count: 1, to: bench.guest)
      }
    }
    let bench = try Bench(room: 16, entries: 256)
    for count in [257, Int.max, -1] {
      #expect(throws: SystemError("a damaged journal", errno: EINVAL)) {
        try bench.log.replay(count: count, to: bench.guest)
      }
    }
  }
}
