// COLO's tests: the stage row by row of its table, under many threads, on a full disk, after a
// crash, and with every recorded session of a stock COLO primary.

import COLO
import Foundation
import Memory
import SessionReplay
import TestSupport
import Testing

/// A stage of small blocks, and its calls with arrays.
struct SmallStage {
  static let page = 4096
  let stage: COLOStage

  /// - Parameters:
  ///   - state: which row of the table.
  ///   - cache: which cache; means nothing in state off.
  ///   - blocks: lengths in pages.
  init(
    _ state: COLOStage.State, _ cache: TestCache = .mirror, blocks: [Int] = [600, 3],
    pageSize: Int = page
  ) throws {
    let guest = try blocks.enumerated().map {
      try RAMBlock(memfd: "block \($0)", length: $1 * pageSize, pageSize: pageSize)
    }
    stage = COLOStage(guest: guest, cache: state == .off ? .none : try cache.make(for: guest))
    if state == .colo { stage.enterCOLO() }
  }

  /// Receives pages that are filled with one byte, as a backend would.
  func receive(_ block: Int, _ normal: [UInt64], fill: UInt8, zero: [UInt64] = []) throws {
    let size = stage.guest[block].pageSize
    try stage.receive(block, normal: normal, zero: zero) { target in
      #expect(target.normal.count == normal.count)
      for offset in target.normal { memset(target.host + Int(offset), Int32(fill), size) }
    }
  }

  /// What every byte of a page is; nil when they differ.
  static func fill(_ block: RAMBlock, _ offset: UInt64) -> UInt8? {
    let bytes = UnsafeRawBufferPointer(start: block.base + Int(offset), count: block.pageSize)
    return bytes.allSatisfy { $0 == bytes[0] } ? bytes[0] : nil
  }

  func guest(_ block: Int, _ offset: UInt64) -> UInt8? { Self.fill(stage.guest[block], offset) }

  /// The second copy of RAM; a test that asks for it has made one.
  var mirror: MirrorCache {
    guard case .mirror(let mirror) = stage.cache else { fatalError("this stage has no mirror") }
    return mirror
  }

  func cache(_ block: Int, _ offset: UInt64) -> UInt8? { Self.fill(mirror.blocks[block], offset) }

  /// The offsets that a bitmap of the mirror has.
  func dirty(_ block: Int, side: Int = 0) -> [UInt64] {
    let map = mirror.bitmaps[side][block]
    return (0..<map.count).filter(map.contains).map { UInt64($0 * stage.guest[block].pageSize) }
  }
}

/// All rows of the table.
let rows: [(COLOStage.State, TestCache)] = [
  (.off, .mirror), (.precopy, .mirror), (.precopy, .sparse), (.colo, .mirror), (.colo, .sparse),
]

@Suite("The COLO stage, row by row")
struct StageTests {
  @Test("Off: pages go straight to the guest, zero pages are cleared there")
  func off() throws {
    let small = try SmallStage(.off)
    #expect(small.stage.state == .off && small.stage.cacheBytes == 0)
    for block in 0..<2 {
      try small.stage.receive(block, normal: [0], zero: []) { target in
        #expect(target.host == small.stage.guest[block].base && Array(target.normal) == [0])
      }
    }
    try small.receive(0, [4096, 8192], fill: 7)
    #expect(small.guest(0, 4096) == 7 && small.guest(0, 8192) == 7 && small.guest(0, 0) == 0)
    try small.receive(0, [0], fill: 9, zero: [8192])
    #expect(small.guest(0, 0) == 9 && small.guest(0, 8192) == 0 && small.guest(0, 4096) == 7)
  }

  @Test("Precopy, mirror: pages go to the cache and from there to the guest, nothing is recorded")
  func precopyMirror() throws {
    let small = try SmallStage(.precopy)
    try small.stage.receive(0, normal: [4096], zero: []) { target in
      #expect(target.host == small.mirror.blocks[0].base)
      memset(target.host + 4096, 5, 4096)
      #expect(small.guest(0, 4096) == 0, "not before the page is whole")
    }
    #expect(small.guest(0, 4096) == 5 && small.cache(0, 4096) == 5)
    try small.receive(0, [8192], fill: 6, zero: [4096])
    #expect(small.guest(0, 4096) == 0 && small.cache(0, 4096) == 0)
    #expect(small.guest(0, 8192) == 6 && small.cache(0, 8192) == 6)
    for side in 0..<2 { #expect(small.dirty(0, side: side) == []) }
  }

  @Test("Precopy, sparse: pages go straight to the guest, the cache stays empty")
  func precopySparse() throws {
    let small = try SmallStage(.precopy, .sparse)
    try small.stage.receive(0, normal: [4096], zero: []) { target in
      #expect(target.host == small.stage.guest[0].base && Array(target.normal) == [4096])
      memset(target.host + 4096, 5, 4096)
    }
    try small.receive(0, [8192], fill: 6, zero: [4096])
    #expect(small.guest(0, 4096) == 0 && small.guest(0, 8192) == 6)
    #expect(small.stage.cacheBytes == 0)
  }

  @Test("COLO, mirror: recorded before a byte is written, zero pages cleared in the cache at once")
  func coloMirror() throws {
    let small = try SmallStage(.precopy)
    try small.receive(0, [0, 4096, 8192], fill: 1)
    small.stage.enterCOLO()
    try small.stage.receive(0, normal: [4096], zero: [8192]) { target in
      #expect(target.host == small.mirror.blocks[0].base)
      #expect(small.dirty(0) == [4096, 8192])
      #expect(small.cache(0, 4096) == 1, "nothing is written yet")
      #expect(small.cache(0, 8192) == 0)
      memset(target.host + 4096, 2, 4096)
    }
    for offset in [0, 4096, 8192] as [UInt64] { #expect(small.guest(0, offset) == 1) }
    let sealed = small.stage.seal()
    #expect(sealed == COLOStage.Sealed(side: 0, entries: 0))
    try small.stage.redo(sealed)
    #expect(small.guest(0, 0) == 1 && small.guest(0, 4096) == 2 && small.guest(0, 8192) == 0)
    #expect(small.dirty(0) == [])
  }

  @Test("COLO, sparse: every page has an entry, only normal pages have memory")
  func coloSparse() throws {
    let small = try SmallStage(.precopy, .sparse)
    try small.receive(0, [0, 4096, 8192], fill: 1)
    small.stage.enterCOLO()
    guard case .sparse(let logs) = small.stage.cache else { return }
    try small.stage.receive(0, normal: [4096, 409_600], zero: [8192]) { target in
      #expect(logs[0].count == 3 && logs[0].normalCount == 2, "entered before a byte is written")
      #expect(Array(target.normal) == [0, 4096], "neighbours, wherever they are in the guest")
      for offset in target.normal { memset(target.host + Int(offset), 2, 4096) }
    }
    for offset in [0, 4096, 8192] as [UInt64] { #expect(small.guest(0, offset) == 1) }
    let sealed = small.stage.seal()
    #expect(sealed == COLOStage.Sealed(side: 0, entries: 3))
    try small.stage.redo(sealed)
    #expect(small.guest(0, 0) == 1 && small.guest(0, 4096) == 2 && small.guest(0, 8192) == 0)
    #expect(small.guest(0, 409_600) == 2)
  }

  @Test(
    "In COLO state the guest does not change before its checkpoint is copied",
    arguments: TestCache.allCases)
  func guestHoldsStill(cache: TestCache) throws {
    let small = try SmallStage(.precopy, cache)
    let all = (0..<600).map { UInt64($0 * 4096) }
    for start in stride(from: 0, to: 600, by: 100) {
      try small.receive(0, Array(all[start..<start + 100]), fill: 1)
    }
    small.stage.enterCOLO()
    for start in stride(from: 0, to: 600, by: 100) {
      try small.receive(
        0, Array(all[start..<start + 50]), fill: 2, zero: Array(all[start + 50..<start + 100]))
    }
    #expect(all.allSatisfy { small.guest(0, $0) == 1 })
    let sealed = small.stage.seal()
    #expect(all.allSatisfy { small.guest(0, $0) == 1 })
    try small.stage.redo(sealed)
    #expect(all.enumerated().allSatisfy { small.guest(0, $1) == ($0 % 100 < 50 ? 2 : 0) })
  }

  @Test("Zero pages are cleared also at first sight", arguments: rows)
  func firstSight(state: COLOStage.State, cache: TestCache) throws {
    let small = try SmallStage(state, cache)
    var targets = [small.stage.guest[0]]
    if case .mirror(let mirror) = small.stage.cache { targets.append(mirror.blocks[0]) }
    // What was there before is nobody's assumption: here it is garbage.
    for target in targets {
      try target.reserve(pageAt: 0)
      memset(target.base, 0xff, 3 * 4096)
    }
    try small.receive(0, [], fill: 0, zero: [4096])
    if state == .colo { try small.stage.flush() }
    for target in targets {
      #expect(SmallStage.fill(target, 4096) == 0)
      #expect(SmallStage.fill(target, 0) == 0xff && SmallStage.fill(target, 8192) == 0xff)
    }
  }

  @Test("Zero pages alone take no memory of the guest's size", arguments: rows)
  func sparse(state: COLOStage.State, cache: TestCache) throws {
    let small = try SmallStage(state, cache)
    let all = (0..<600).map { UInt64($0 * 4096) }
    for start in stride(from: 0, to: 600, by: 100) {
      try small.receive(0, [], fill: 0, zero: Array(all[start..<start + 100]))
    }
    if state == .colo {
      if case .mirror = cache { #expect(small.dirty(0) == all, "recorded like others") }
      // A journal, or nothing.
      #expect(small.stage.cacheBytes <= 1 << 20)
      try small.stage.flush()
    }
    #expect(small.stage.guest.allSatisfy { $0.reservedBytes == 0 })
  }

  @Test(
    "The same page may come many times in one checkpoint, the last one counts",
    arguments: TestCache.allCases)
  func repeated(cache: TestCache) throws {
    let small = try SmallStage(.colo, cache, blocks: [600, 30])
    for fill in 1...5 as ClosedRange<UInt8> { try small.receive(1, [8192], fill: fill) }
    try small.receive(1, [], fill: 0, zero: [8192])
    #expect(small.guest(1, 8192) == 0)
    try small.receive(1, [8192, 8192], fill: 8)
    try small.receive(1, [4096], fill: 9)
    try small.receive(1, [], fill: 0, zero: [4096])
    try small.stage.flush()
    #expect(small.guest(1, 8192) == 8 && small.guest(1, 4096) == 0)
  }

  @Test("Bigger pages", arguments: TestCache.allCases, [16384, 65536, 1 << 21])
  func bigPages(cache: TestCache, size: Int) throws {
    let small = try SmallStage(.precopy, cache, blocks: [5], pageSize: size)
    let (one, two) = (UInt64(size), UInt64(3 * size))
    try small.receive(0, [one, two], fill: 1)
    small.stage.enterCOLO()
    try small.receive(0, [one], fill: 2, zero: [two])
    #expect(small.guest(0, one) == 1 && small.guest(0, two) == 1)
    try small.stage.flush()
    #expect(small.guest(0, one) == 2 && small.guest(0, two) == 0)
  }
}
