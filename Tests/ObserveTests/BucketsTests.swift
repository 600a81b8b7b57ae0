import Foundation
import Observe
import Testing

@Suite("Durations in classes")
struct BucketsTests {
  @Test("each counts in the first class that it fits")
  func classes() throws {
    var buckets = Buckets()
    #expect(buckets.count == 0 && buckets.sum == 0)
    for milliseconds in [0.5, 0.6, 5, 5.1, 10_000, 10_001] {
      buckets.record(.seconds(milliseconds / 1000))
    }
    func count(_ bound: Double) throws -> UInt64 {
      buckets.counts[try #require(Buckets.bounds.firstIndex(of: bound))]
    }
    #expect(try count(0.0005) == 1 && count(0.001) == 1)
    #expect(try count(0.005) == 1 && count(0.01) == 1 && count(10) == 1)
    #expect(buckets.counts.last == 1 && buckets.count == 6)
    #expect(abs(buckets.sum - 20.0122) < 1e-9)
    #expect(Buckets.bounds == Buckets.bounds.sorted())
  }

  @Test("a clock that goes back counts as nothing")
  func negative() {
    var buckets = Buckets()
    buckets.record(.seconds(-1))
    #expect(buckets.counts[0] == 1 && buckets.sum == 0)
  }
}
