import COLO
import Foundation
import Memory
import SessionReplay
import TestSupport
import Testing

@Suite("The COLO stage under many threads")
struct StageThreadsTests {
  @Test("Channels share a block: every page lands, every page is recorded", arguments: rows)
  func sharedBlock(state: COLOStage.State, cache: TestCache) throws {
    let pages = 2048, channels = 4
    let small = try SmallStage(state, cache, blocks: [pages])
    inThreads(channels) { channel in
      // Pages are dealt out one by one, so that channels meet in every word and every chunk.
      let mine = stride(from: channel, to: pages, by: channels).map { UInt64($0 * 4096) }
      for start in stride(from: 0, to: mine.count, by: 32) {
        let packet = mine[start..<start + 32]
        do {
          try small.receive(
            0, packet.filter { $0 / 4096 % 5 != 0 }, fill: UInt8(channel + 1),
            zero: packet.filter { $0 / 4096 % 5 == 0 })
        } catch { Issue.record(error) }
      }
    }
    if state == .colo {
      #expect((0..<pages).allSatisfy { small.guest(0, UInt64($0 * 4096)) == 0 })
      if case .sparse(let logs) = small.stage.cache { #expect(logs[0].count == pages) }
      if case .mirror(let mirror) = small.stage.cache {
        #expect(mirror.bitmaps[0][0].population == pages)
      }
      try small.stage.flush()
    }
    for page in 0..<pages {
      let expected = page % 5 == 0 ? 0 : UInt8(page % channels + 1)
      #expect(small.guest(0, UInt64(page * 4096)) == expected, "page \(page)")
    }
  }
}
