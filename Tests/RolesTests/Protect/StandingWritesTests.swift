import Roles
import Testing

/// When a standby's disk counts as one that takes no writes.
@Suite("A disk that takes no writes")
struct StandingWritesTests {
  private let start = ContinuousClock.now
  private func after(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

  @Test("Something is to be written and nothing is, for longer than that may take")
  func stands() {
    var writes = StandingWrites(limit: .seconds(1.5))
    #expect(writes.look("a", copied: 10, total: 14, at: start) == nil)
    // Another write is begun; that is no progress.
    #expect(writes.look("a", copied: 10, total: 20, at: after(1.5)) == nil)
    #expect(writes.look("a", copied: 10, total: 20, at: after(1.6)) == .seconds(1.6))
  }

  @Test("Each that is done, each moment without any, and each other disk begins anew")
  func moves() {
    var writes = StandingWrites(limit: .seconds(1.5))
    #expect(writes.look("a", copied: 10, total: 14, at: start) == nil)
    #expect(writes.look("a", copied: 12, total: 14, at: after(1)) == nil)
    #expect(writes.look("a", copied: 12, total: 14, at: after(2)) == nil)
    #expect(writes.look("a", copied: 14, total: 14, at: after(2.5)) == nil)
    // A guest that writes nothing, for however long; then it does.
    #expect(writes.look("a", copied: 14, total: 14, at: after(60)) == nil)
    #expect(writes.look("a", copied: 14, total: 15, at: after(60.1)) == nil)
    #expect(writes.look("b", copied: 14, total: 15, at: after(61)) == nil)
    #expect(writes.look("a", copied: 14, total: 15, at: after(61)) == nil)
    #expect(writes.look("b", copied: 14, total: 15, at: after(62)) == nil)
    #expect(writes.look("a", copied: 14, total: 15, at: after(62)) != nil)
  }
}
