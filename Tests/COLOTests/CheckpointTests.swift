import COLO
import Foundation
import Memory
import SessionReplay
import System
import TestSupport
import Testing

@Suite("Checkpoints in the cache")
struct CheckpointTests {
  @Test("A copy brings exactly the pages of its checkpoint")
  func exact() throws {
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
          (0..<40).map { _ in
            UInt64(Int.random(in: 0..<block.pageCount, using: &generator) * 4096)
          })
      }
      let before = small.stage.guest.indices.map { block in
        (0..<small.stage.guest[block].pageCount).map { small.guest(block, UInt64($0 * 4096)) }
      }
      // The whole mirror changes, as it never would, but only the picked pages are recorded.
      for (block, pick) in picks.enumerated() {
        let mirror = small.mirror.blocks[block]
        memset(mirror.base, Int32(round) + 2, mirror.length)
        try small.receive(block, Array(pick), fill: round + 2)
        #expect(small.dirty(block, side: Int(round) % 2) == pick.sorted())
      }
      let sealed = small.stage.seal()
      #expect(sealed.side == Int(round) % 2, "the sides take turns")
      small.stage.turn()
      try small.stage.redo(sealed)
      for (block, pick) in picks.enumerated() {
        #expect(small.dirty(block, side: 0) == [] && small.dirty(block, side: 1) == [])
        for page in 0..<small.stage.guest[block].pageCount {
          let expected = pick.contains(UInt64(page * 4096)) ? round + 2 : before[block][page]
          #expect(small.guest(block, UInt64(page * 4096)) == expected)
        }
      }
    }
  }

  @Test(
    "Checkpoint after checkpoint, by several channels, copied in several parts",
    arguments: TestCache.allCases)
  func series(cache: TestCache) throws {
    let channels = 3
    let small = try SmallStage(.colo, cache, blocks: [1024, 65])
    var generator = SeededGenerator(seed: 11)
    var model = [[UInt8](repeating: 0, count: 1024), [UInt8](repeating: 0, count: 65)]
    func expectModel(_ when: Comment) {
      for block in 0..<2 {
        #expect(
          model[block].indices.allSatisfy {
            small.guest(block, UInt64($0 * 4096)) == model[block][$0]
          }, when)
      }
    }
    for checkpoint in 1...12 as ClosedRange<UInt8> {
      // A page is sent by one channel in one epoch.
      let picks = (0..<channels).map { channel in
        (0..<2).map { block in
          (0..<model[block].count).filter { $0 % channels == channel }
            .filter { _ in Int.random(in: 0..<4, using: &generator) == 0 }.map { UInt64($0 * 4096) }
        }
      }
      @Sendable func isZero(_ offset: UInt64) -> Bool {
        offset / 4096 % 7 == UInt64(checkpoint % 7)
      }
      inThreads(channels) { channel in
        do {
          for block in 0..<2 {
            try small.receive(
              block, picks[channel][block].filter { !isZero($0) }, fill: checkpoint,
              zero: picks[channel][block].filter(isZero))
          }
        } catch { Issue.record(error) }
      }
      expectModel("before checkpoint \(checkpoint) is copied")
      for block in 0..<2 {
        for offset in picks.flatMap({ $0[block] }) {
          model[block][Int(offset / 4096)] = isZero(offset) ? 0 : checkpoint
        }
      }
      let sealed = small.stage.seal()
      let parts = Int(checkpoint) % 4 + 1
      inThreads(parts) { part in
        do { try small.stage.redo(sealed, part: part, parts: parts) } catch { Issue.record(error) }
      }
      try small.stage.forget(sealed, keep: checkpoint % 2 == 0 ? 0 : nil)
      if checkpoint % 3 == 0 { small.stage.turn() } else { try small.stage.stay() }
      expectModel("after checkpoint \(checkpoint)")
    }
  }

  @Test("A copy can be repeated until it is forgotten")
  func repeatable() throws {
    let small = try SmallStage(.colo, .sparse)
    try small.receive(0, [0, 8192], fill: 3, zero: [4096])
    let sealed = small.stage.seal()
    for _ in 0..<3 {
      // As if the process had died in the middle of it.
      try small.stage.guest[0].reserve(pageAt: 0)
      memset(small.stage.guest[0].base, 0xee, 3 * 4096)
      try small.stage.redo(sealed)
      #expect(small.guest(0, 0) == 3 && small.guest(0, 4096) == 0 && small.guest(0, 8192) == 3)
    }
  }

  @Test("The next checkpoint comes in while the last one is copied: neither sees the other")
  func overlap() throws {
    let small = try SmallStage(.colo, .sparse, blocks: [2048])
    let all = (0..<2048).map { UInt64($0 * 4096) }
    var last: COLOStage.Sealed?
    for checkpoint in 1...8 as ClosedRange<UInt8> {
      let copying = last
      inThreads(3) { thread in
        do {
          if thread == 2 {
            guard let copying else { return }
            try small.stage.redo(copying)
            return
          }
          for start in stride(from: thread * 1024, to: (thread + 1) * 1024, by: 128) {
            try small.receive(0, Array(all[start..<start + 128]), fill: checkpoint)
          }
        } catch { Issue.record(error) }
      }
      #expect(all.allSatisfy { small.guest(0, $0) == checkpoint - 1 })
      if let copying { try small.stage.forget(copying) }
      last = small.stage.seal()
      small.stage.turn()
    }
  }

  @Test("One side does for checkpoints in a row; the other one's memory is given back")
  func oneSide() throws {
    let small = try SmallStage(.colo, .sparse, blocks: [16384])
    func checkpoint(_ fill: UInt8, pages: Int) throws -> COLOStage.Sealed {
      for start in stride(from: 0, to: pages, by: 128) {
        try small.receive(0, (start..<start + 128).map { UInt64($0 * 4096) }, fill: fill)
      }
      let sealed = small.stage.seal()
      try small.stage.redo(sealed)
      try small.stage.forget(sealed)
      return sealed
    }
    #expect(try checkpoint(1, pages: 128).side == 0)
    #expect(try checkpoint(2, pages: 12288).side == 0)
    // As much as it needed stays, for the next one.
    let one = small.stage.cacheBytes
    #expect(one >= 48 << 20 && one <= 50 << 20)
    small.stage.turn()
    #expect(try checkpoint(3, pages: 128).side == 1)
    #expect(small.stage.cacheBytes > one)
    try small.stage.stay()
    #expect(small.stage.cacheBytes <= 4 << 20)
    #expect(try checkpoint(4, pages: 128).side == 1)
    #expect(small.guest(0, 127 * 4096) == 4 && small.guest(0, 128 * 4096) == 2)
  }

  @Test("A cache that is warm takes a checkpoint without getting memory")
  func warm() throws {
    let small = try SmallStage(.colo, .sparse, blocks: [16384])
    try small.stage.warm(bytes: 8 << 20)
    let warm = small.stage.cacheBytes
    #expect(warm >= 8 << 20 && warm <= 9 << 20)
    for start in stride(from: 0, to: 2048, by: 128) {
      try small.receive(0, (start..<start + 128).map { UInt64($0 * 4096) }, fill: 7)
    }
    #expect(small.stage.cacheBytes == warm)
  }

  @Test("Forgetting gives memory back, down to what is to be kept")
  func forget() throws {
    let small = try SmallStage(.colo, .sparse, blocks: [4096])
    for keep in [0, 2 << 20, 64 << 20] {
      for start in stride(from: 0, to: 4096, by: 128) {
        try small.receive(0, (start..<start + 128).map { UInt64($0 * 4096) }, fill: 1)
      }
      let sealed = small.stage.seal()
      try small.stage.redo(sealed)
      let full = small.stage.cacheBytes
      #expect(full >= 16 << 20)
      try small.stage.forget(sealed, keep: keep)
      // A journal's share of what is kept is rounded up to its 1 MiB chunks.
      #expect(small.stage.cacheBytes <= min(full, keep + 2 << 20))
      if keep > 16 << 20 { #expect(small.stage.cacheBytes == full) }
    }
  }

  @Test("More pages than the log has room for is an error, and the guest stays as it was")
  func tooMany() throws {
    let small = try SmallStage(.colo, .sparse, blocks: [40])
    let all = (0..<40).map { UInt64($0 * 4096) }
    try small.receive(0, all, fill: 1)
    #expect(throws: SystemError("a checkpoint larger than the guest's RAM", errno: ENOSPC)) {
      try small.receive(0, [0], fill: 2)
    }
    #expect(all.allSatisfy { small.guest(0, $0) == 0 })
  }
}
