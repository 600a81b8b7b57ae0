import Synchronization
import System
import Testing
import Transport

@Suite("A wait that others can end")
struct SocketWatchTests {
  private final class Rings: Sendable {
    let count = Atomic(0)
  }

  /// One that came just when the one before was heard used to be the last that ever was.
  @Test("However they come, no ring is lost")
  func rings() throws {
    let (watch, rings, threads) = (try SocketWatch(), Rings(), ThreadGroup())
    let (ringers, each, limit) = (3, 100_000, Duration.seconds(5))
    for _ in 0..<ringers {
      try threads.start("ringer") {
        for _ in 0..<each {
          rings.count.add(1, ordering: .sequentiallyConsistent)
          watch.ring()
        }
      }
    }
    while case let heard = rings.count.load(ordering: .sequentiallyConsistent),
      heard < ringers * each
    {
      let begun = ContinuousClock.now
      watch.wait([], until: begun + limit)
      // Nothing has come, or it was heard.
      let isLate = begun.duration(to: .now) >= limit
      try #require(!isLate || rings.count.load(ordering: .sequentiallyConsistent) == heard)
    }
    threads.joinAll()
  }
}
