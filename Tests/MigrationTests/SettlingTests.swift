import Glibc
import Migration
import Synchronization
import System
import TestSupport
import Testing
import Transport
import Wire

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

  @Test("One that is refused is not done without: its failure is waited for")
  func refused() throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let session = Session(timeout: 20)
    let sockets = try (0..<2).map { _ in
      try Socket.connect(to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 10)
    }
    for socket in sockets { #expect(session.admitUnnamed(socket)) }
    let channel = try session.register(MultiFDInit(uuid: .zero, id: 0), sockets[0])
    defer { withExtendedLifetime(channel) {} }
    let other = try #require(VMUUID("00112233-4455-6677-8899-aabbccddeeff"))
    let refusal = #expect(throws: Failure.self) {
      try session.register(MultiFDInit(uuid: other, id: 1), sockets[1])
    }
    // Its thread says so a moment later.
    let threads = ThreadGroup()
    defer { threads.joinAll() }
    let failure = try #require(refusal)
    try threads.start("channel 1") {
      usleep(200_000)
      session.fail(failure)
    }
    #expect(throws: Failure.self) { try session.countChannels() }
  }
}
