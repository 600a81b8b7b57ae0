import Roles
import Testing

/// When a disk's copy counts as one that will not come to its end.
@Suite("A disk whose copy stops again and again")
struct StoppedCopiesTests {
  @Test("It is one stop too many only where none of them was nearer")
  func noNearer() {
    var stops = StoppedCopies()
    for _ in 1...StoppedCopies.limit { #expect(stops.isTooMuch("a", remaining: 100) == false) }
    // What the guest writes meanwhile is no progress, and no other disk's fault.
    #expect(stops.isTooMuch("b", remaining: 100) == false)
    #expect(stops.isTooMuch("a", remaining: 164) == true)
  }

  @Test("One that comes nearer may stop as often as it does")
  func nearer() {
    var stops = StoppedCopies()
    for remaining in stride(from: 1000, to: 0, by: -100) {
      for _ in 1..<StoppedCopies.limit {
        #expect(stops.isTooMuch("a", remaining: remaining) == false)
      }
    }
  }
}
