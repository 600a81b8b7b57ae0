import Migration
import Synchronization
import Testing

/// How many channels there are, where the operator has not said.
@Suite("Channels are counted when everybody is in")
struct SettlingTests {
  @Test("A connection that waits to be accepted is waited for, up to the time-out")
  func waiting() throws {
    let session = Session(timeout: 0.5)
    // The lobby gets no processor while it is asked three times.
    let asked = Atomic(0)
    session.listen { asked.add(1, ordering: .relaxed).newValue <= 3 }
    try session.mainReachedMarker(needsChannels: false)
    #expect(asked.load(ordering: .relaxed) == 4)
  }

  @Test("Others who come without end are not waited for: a whole pass of the lobby suffices")
  func endless() throws {
    let session = Session(timeout: 1000)
    let asked = Atomic(0)
    session.listen(
      isKnocked: { true }, passes: { asked.add(1, ordering: .relaxed).newValue })
    try session.mainReachedMarker(needsChannels: false)
    #expect(asked.load(ordering: .relaxed) > 2)
  }

  @Test("One that is never accepted holds nobody up for ever")
  func never() throws {
    let session = Session(timeout: 0.2)
    session.listen { true }
    try session.mainReachedMarker(needsChannels: false)
  }
}
