import Migration
import Testing

@Suite("Epochs")
struct EpochsTests {
  private func epochs(_ ids: Int..., expected: Int?) -> Epochs {
    var epochs = Epochs()
    epochs.expected = expected
    for id in ids { epochs.add(id) }
    return epochs
  }

  @Test("A marker is passed when every channel has met its SYNC, and not before")
  func pass() {
    var epochs = epochs(0, 1, expected: 2)
    #expect(epochs.pass() == .wait && epochs.late == [0, 1])
    #expect(epochs.met(1) == 1)
    // Whoever waits for all is not woken for one.
    #expect(!epochs.areAllMet)
    #expect(epochs.pass() == .wait && epochs.late == [0])
    #expect(epochs.met(0) == 1)
    #expect(epochs.areAllMet)
    #expect(epochs.pass() == nil && epochs.passed == 1)
    // The next one is another.
    #expect(epochs.pass() == .wait && epochs.passed == 1)
  }

  @Test("A channel that is not there holds the main channel up; one too many does too")
  func count() {
    var few = epochs(0, expected: 2)
    _ = few.met(0)
    #expect(few.pass() == .wait && few.absent == [1] && few.count == 2)
    few.add(1)
    #expect(few.pass() == .wait && few.absent.isEmpty)
    _ = few.met(1)
    #expect(few.pass() == nil)
    var none = epochs(expected: 0)
    #expect(none.pass() == nil && none.count == 0)
    var unknown = epochs(2, expected: nil)
    #expect(unknown.countWithGaps == 3 && unknown.count == 3)
    _ = unknown.met(2)
    #expect(unknown.pass() == .wait)
  }

  @Test("A channel may be closed behind its last SYNC, and not before it")
  func ended() {
    var epochs = epochs(0, 1, expected: 2)
    _ = (epochs.met(0), epochs.met(1))
    epochs.end(0)
    #expect(epochs.pass() == nil)
    #expect(epochs.pass() == .ended(0))
  }

  @Test("A channel that is ahead of the main channel is found")
  func ahead() {
    var epochs = epochs(0, 1, expected: 2)
    #expect(epochs.ahead == nil)
    _ = epochs.met(1)
    #expect(epochs.ahead == 1)
    _ = epochs.met(0)
    _ = epochs.pass()
    #expect(epochs.ahead == nil)
  }

  @Test("Whatever the order of SYNCs, a marker waits for the slowest channel", arguments: 0..<50)
  func orders(seed: Int) {
    var random = SplitMix(state: UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 &+ 1)
    let channels = Int(random.next() % 5) + 1
    var epochs = Epochs()
    epochs.expected = channels
    for id in 0..<channels { epochs.add(id) }
    var syncs = [Int](repeating: 0, count: channels)
    var passed = 0
    for _ in 0..<200 {
      let id = Int(random.next() % UInt64(channels))
      // A channel waits for its marker after each SYNC.
      if syncs[id] == passed { syncs[id] = epochs.met(id) }
      let ready = syncs.min()! > passed
      #expect((epochs.pass() == nil) == ready)
      if ready { passed += 1 }
      #expect(epochs.passed == passed)
    }
  }

  private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }
}
