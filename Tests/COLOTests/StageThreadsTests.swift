import COLO
import Foundation
import Memory
import TestSupport
import Testing

@Suite("The COLO stage under many threads")
struct StageThreadsTests {
  @Test(
    "Channels share a block: every page lands, every page is recorded",
    arguments: [COLOStage.State.off, .precopy, .colo])
  func sharedBlock(state: COLOStage.State) throws {
    let pages = 2048, channels = 4
    let small = try SmallStage(state, blocks: [pages])
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
      #expect(small.stage.dirty[0].population == pages)
      #expect((0..<pages).allSatisfy { small.guest(0, UInt64($0 * 4096)) == 0 })
      #expect(try small.stage.flush() == pages)
    }
    for page in 0..<pages {
      let expected = page % 5 == 0 ? 0 : UInt8(page % channels + 1)
      #expect(small.guest(0, UInt64(page * 4096)) == expected, "page \(page)")
      if state != .off { #expect(small.cache(0, UInt64(page * 4096)) == expected) }
    }
  }

  @Test("Checkpoint after checkpoint: the guest is always the last one, whole")
  func checkpoints() throws {
    let pages = 1024, channels = 3
    let small = try SmallStage(.colo, blocks: [pages, 65])
    var generator = SeededGenerator(seed: 11)
    var model = [[UInt8]](
      arrayLiteral: .init(repeating: 0, count: pages), .init(repeating: 0, count: 65))
    for checkpoint in 1...12 as ClosedRange<UInt8> {
      let picks = (0..<channels).map { channel in
        (0..<2).map { block in
          // A page is sent by one channel in one epoch.
          (0..<model[block].count).filter { $0 % channels == channel }
            .filter { _ in Int.random(in: 0..<4, using: &generator) == 0 }.map { UInt64($0 * 4096) }
        }
      }
      inThreads(channels) { channel in
        do {
          for block in 0..<2 {
            let normal = picks[channel][block].filter { $0 / 4096 % 7 != UInt64(checkpoint % 7) }
            let zero = picks[channel][block].filter { $0 / 4096 % 7 == UInt64(checkpoint % 7) }
            try small.receive(block, normal, fill: checkpoint, zero: zero)
          }
        } catch { Issue.record(error) }
      }
      for block in 0..<2 {
        #expect(
          model[block].indices.allSatisfy {
            small.guest(block, UInt64($0 * 4096)) == model[block][$0]
          })
      }
      for block in 0..<2 {
        for offset in picks.flatMap({ $0[block] }) {
          model[block][Int(offset / 4096)] =
            offset / 4096 % 7 == UInt64(checkpoint % 7) ? 0 : checkpoint
        }
      }
      #expect(try small.stage.flush() == picks.joined().reduce(0) { $0 + $1.count })
      for block in 0..<2 {
        #expect(
          model[block].indices.allSatisfy {
            small.guest(block, UInt64($0 * 4096)) == model[block][$0]
          })
      }
    }
  }
}
