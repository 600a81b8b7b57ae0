// COLO's tests: the stage row by row of its table, under many threads, on a full disk, and with every recorded
// session of a stock COLO primary.

import COLO
import Foundation
import Memory
import TestSupport
import Testing

/// A stage of small blocks, and its calls with arrays.
struct SmallStage {
  static let page = 4096
  let stage: COLOStage

  /// - Parameters:
  ///   - state: which row of the table.
  ///   - blocks: lengths in pages.
  init(_ state: COLOStage.State, blocks: [Int] = [600, 3], pageSize: Int = page) throws {
    func memory() throws -> [RAMBlock] {
      try blocks.enumerated().map {
        try RAMBlock(memfd: "block \($0)", length: $1 * pageSize, pageSize: pageSize)
      }
    }
    stage =
      state == .off
      ? COLOStage(guest: try memory()) : COLOStage(guest: try memory(), cache: try memory())
    if state == .colo { stage.enterCOLO() }
  }

  func prepare(
    _ block: Int, normal: [UInt64] = [], zero: [UInt64] = []
  ) throws -> UnsafeMutableRawPointer {
    try normal.withUnsafeBufferPointer { normal in
      try zero.withUnsafeBufferPointer { try stage.prepare(block: block, normal: normal, zero: $0) }
    }
  }

  func process(_ block: Int, normal: [UInt64] = [], zero: [UInt64] = []) throws {
    try normal.withUnsafeBufferPointer { normal in
      try zero.withUnsafeBufferPointer { try stage.process(block: block, normal: normal, zero: $0) }
    }
  }

  /// Receives pages that are filled with one byte, as a backend would.
  func receive(_ block: Int, _ normal: [UInt64], fill: UInt8, zero: [UInt64] = []) throws {
    let host = try prepare(block, normal: normal, zero: zero)
    let size = stage.guest[block].pageSize
    for offset in normal { memset(host + Int(offset), Int32(fill), size) }
    try process(block, normal: normal, zero: zero)
  }

  /// What every byte of a page is; nil when they differ.
  static func fill(_ block: RAMBlock, _ offset: UInt64) -> UInt8? {
    let bytes = UnsafeRawBufferPointer(start: block.base + Int(offset), count: block.pageSize)
    return bytes.allSatisfy { $0 == bytes[0] } ? bytes[0] : nil
  }

  func guest(_ block: Int, _ offset: UInt64) -> UInt8? { Self.fill(stage.guest[block], offset) }
  func cache(_ block: Int, _ offset: UInt64) -> UInt8? { Self.fill(stage.cache[block], offset) }

  /// The offsets that a block's bitmap has.
  func dirty(_ block: Int) -> [UInt64] {
    let map = stage.dirty[block]
    return (0..<map.count).filter(map.contains).map { UInt64($0 * stage.guest[block].pageSize) }
  }
}

@Suite("The COLO stage, row by row")
struct StageTests {
  @Test("Off: pages go straight to the guest, zero pages are cleared there, nothing is recorded")
  func off() throws {
    let small = try SmallStage(.off)
    #expect(small.stage.state == .off && small.stage.cache.isEmpty && small.stage.dirty.isEmpty)
    #expect(try small.prepare(0, normal: [0]) == small.stage.guest[0].base)
    #expect(try small.prepare(1, zero: [0]) == small.stage.guest[1].base)
    try small.receive(0, [4096, 8192], fill: 7)
    #expect(small.guest(0, 4096) == 7 && small.guest(0, 8192) == 7 && small.guest(0, 0) == 0)
    try small.receive(0, [0], fill: 9, zero: [8192])
    #expect(small.guest(0, 0) == 9 && small.guest(0, 8192) == 0 && small.guest(0, 4096) == 7)
  }

  @Test("Precopy: pages go to the cache and from there to the guest, nothing is recorded")
  func precopy() throws {
    let small = try SmallStage(.precopy)
    let host = try small.prepare(0, normal: [4096], zero: [])
    #expect(host == small.stage.cache[0].base)
    memset(host + 4096, 5, 4096)
    #expect(small.guest(0, 4096) == 0, "not before the page is whole")
    try small.process(0, normal: [4096])
    #expect(small.guest(0, 4096) == 5 && small.cache(0, 4096) == 5)
    try small.receive(0, [8192], fill: 6, zero: [4096])
    #expect(small.guest(0, 4096) == 0 && small.cache(0, 4096) == 0)
    #expect(small.guest(0, 8192) == 6 && small.cache(0, 8192) == 6)
    #expect(small.stage.dirty.allSatisfy { $0.population == 0 })
  }

  @Test("COLO: pages go to the cache and are recorded, the guest does not change until the flush")
  func colo() throws {
    let small = try SmallStage(.precopy)
    try small.receive(0, [0, 4096, 8192], fill: 1)
    small.stage.enterCOLO()
    #expect(small.stage.state == .colo)
    let host = try small.prepare(0, normal: [4096], zero: [8192])
    #expect(host == small.stage.cache[0].base)
    #expect(small.dirty(0) == [4096, 8192], "recorded before a byte of the page is written")
    #expect(small.cache(0, 4096) == 1)
    #expect(small.cache(0, 8192) == 0, "zero pages are cleared at once")
    memset(host + 4096, 2, 4096)
    try small.process(0, normal: [4096], zero: [8192])
    for offset in [0, 4096, 8192] as [UInt64] { #expect(small.guest(0, offset) == 1) }
    #expect(try small.stage.flush() == 2)
    #expect(small.guest(0, 0) == 1 && small.guest(0, 4096) == 2 && small.guest(0, 8192) == 0)
    #expect(small.dirty(0) == [])
    #expect(try small.stage.flush() == 0)
  }

  @Test(
    "Zero pages are cleared also at first sight", arguments: [COLOStage.State.off, .precopy, .colo])
  func firstSight(state: COLOStage.State) throws {
    let small = try SmallStage(state)
    let target = state == .off ? small.stage.guest[0] : small.stage.cache[0]
    // What was there before is nobody's assumption: here it is garbage.
    try target.reserve(pageAt: 0)
    memset(target.base, 0xff, 3 * 4096)
    if state != .off {
      try small.stage.guest[0].reserve(pageAt: 0)
      memset(small.stage.guest[0].base, 0xff, 3 * 4096)
    }
    try small.receive(0, [], fill: 0, zero: [4096])
    #expect(SmallStage.fill(target, 4096) == 0)
    #expect(SmallStage.fill(target, 0) == 0xff && SmallStage.fill(target, 8192) == 0xff)
    if state == .colo { try small.stage.flush() }
    #expect(small.guest(0, 4096) == 0)
    #expect(small.guest(0, 0) == 0xff && small.guest(0, 8192) == 0xff)
  }

  @Test("Zero pages alone take no memory", arguments: [COLOStage.State.off, .precopy, .colo])
  func sparse(state: COLOStage.State) throws {
    let small = try SmallStage(state)
    let all = (0..<600).map { UInt64($0 * 4096) }
    for start in stride(from: 0, to: 600, by: 100) {
      try small.receive(0, [], fill: 0, zero: Array(all[start..<start + 100]))
    }
    if state == .colo {
      #expect(small.dirty(0) == all, "zero pages are recorded like others")
      #expect(try small.stage.flush() == 600)
    }
    #expect((small.stage.guest + small.stage.cache).allSatisfy { $0.reservedBytes == 0 })
  }

  @Test("A flush copies exactly the pages of the bitmap")
  func exactFlush() throws {
    let small = try SmallStage(.precopy, blocks: [600, 70, 1])
    for block in 0..<3 {
      try small.receive(
        block, (0..<small.stage.guest[block].pageCount).map { UInt64($0 * 4096) }, fill: 1)
    }
    small.stage.enterCOLO()
    var generator = SeededGenerator(seed: 5)
    for round in 0..<10 as Range<UInt8> {
      let picks = small.stage.guest.map { block in
        Set(
          (0..<40).map { _ in UInt64(Int.random(in: 0..<block.pageCount, using: &generator) * 4096)
          })
      }
      let before = small.stage.guest.indices.map { block in
        (0..<small.stage.guest[block].pageCount).map { small.guest(block, UInt64($0 * 4096)) }
      }
      // The whole cache changes, as it never would, but only the picked pages are recorded.
      for (block, pick) in picks.enumerated() {
        memset(small.stage.cache[block].base, Int32(round) + 2, small.stage.cache[block].length)
        try small.receive(block, Array(pick), fill: round + 2)
      }
      #expect(try small.stage.flush() == picks.reduce(0) { $0 + $1.count })
      for (block, pick) in picks.enumerated() {
        for page in 0..<small.stage.guest[block].pageCount {
          let expected = pick.contains(UInt64(page * 4096)) ? round + 2 : before[block][page]
          #expect(small.guest(block, UInt64(page * 4096)) == expected)
        }
      }
    }
  }

  @Test("The same page may come many times in one checkpoint, the last one counts")
  func repeated() throws {
    let small = try SmallStage(.colo)
    for fill in 1...5 as ClosedRange<UInt8> { try small.receive(1, [8192], fill: fill) }
    try small.receive(1, [], fill: 0, zero: [8192])
    try small.receive(1, [8192, 8192], fill: 8)
    #expect(try small.stage.flush() == 1)
    #expect(small.guest(1, 8192) == 8)
  }

  @Test("Bigger pages", arguments: [16384, 65536, 1 << 21])
  func bigPages(size: Int) throws {
    let small = try SmallStage(.precopy, blocks: [5], pageSize: size)
    let (one, two) = (UInt64(size), UInt64(3 * size))
    try small.receive(0, [one, two], fill: 1)
    small.stage.enterCOLO()
    try small.receive(0, [one], fill: 2, zero: [two])
    #expect(small.dirty(0) == [one, two])
    #expect(small.guest(0, one) == 1 && small.guest(0, two) == 1)
    #expect(try small.stage.flush() == 2)
    #expect(small.guest(0, one) == 2 && small.guest(0, two) == 0)
  }
}
