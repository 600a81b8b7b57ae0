import Observe
import Testing

@Suite("Timings")
struct TimingsTests {
  @Test("Mean, percentiles and maximum, in milliseconds")
  func summary() throws {
    let summary = try #require(Timings.summary(of: (1...100).map { .milliseconds($0) }))
    #expect(summary.count == 100)
    #expect(abs(summary.mean - 50.5) < 0.1)
    #expect(abs(summary.p50 - 50) < 0.1)
    #expect(abs(summary.p99 - 99) < 0.2)
    #expect(abs(summary.max - 100) < 0.2)
  }

  @Test(
    "Nothing has no summary; what is too long or too short counts as the longest and the shortest")
  func edges() throws {
    #expect(Timings.summary(of: []) == nil)
    let summary = try #require(Timings.summary(of: [.seconds(-1), .seconds(100_000)]))
    #expect(summary.count == 2 && summary.p50 == 0)
    #expect(abs(summary.max - 600_000) < 1000)
  }
}
