import System
import Testing

/// Numbers of seconds.
@Suite("Time-outs")
struct TimeOutTests {
  @Test("A time-out is a number above 0, and at most a day")
  func rule() {
    for seconds in [0.001, 1, 86_400] { #expect(seconds.isTimeOut) }
    for seconds in [0, -1, 86_400.1, 1e300, .infinity, .nan] as [Double] {
      #expect(!seconds.isTimeOut, "\(seconds)")
    }
  }

  @Test("A timer can count whatever was asked for")
  func limit() {
    #expect([0.5, -1, 1e300, .nan, .infinity].map(\.timeLimit) == [0.5, 0, 3e8, 0, 3e8])
  }
}
