import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// Guests with disks and a network under protection, and what they lose. `make kills` does the
  /// same as often as it is told. One at a time: each takes a machine of two processors.
  @Suite("A guest protected whole", .serialized, .apart)
  struct WholeGuestTests {
    /// How a guest is protected, what happens to it, and what it loses then.
    struct Case: Sendable, CustomTestStringConvertible {
      let way: WholeGuest.Way
      var prelude = WholeGuest.Prelude.none
      let loss: WholeGuest.Loss
      var onLoss = Protection.OnLoss.hold
      var tls: Credentials.Kind?

      var testDescription: String {
        "\(way), \(prelude), \(loss), \(onLoss)" + (tls.map { ", \($0)" } ?? "")
      }
    }

    static let cases = [
      Case(way: .qmp, loss: .primary),
      Case(way: .protect, loss: .primary, onLoss: .spare, tls: .x509),
      Case(way: .protect, prelude: .takeover, loss: .both),
      Case(way: .protect, prelude: .adopt, loss: .link, tls: .psk),
      Case(way: .protect, prelude: .anew, loss: .server),
      Case(way: .protect, loss: .full),
    ]

    @Test(
      "it goes on with disks that its memory knows, and has sent what it remembers",
      arguments: cases)
    func goesOn(_ one: Case) throws {
      var setup = WholeGuest.Setup()
      (setup.way, setup.onLoss) = (one.way, one.onLoss)
      setup.tls = WholeGuest.canTLS ? one.tls : nil
      if one.loss == .full {
        guard SmallFileSystem.isAvailable else { return }
        setup.room = WholeGuest.smallRoom
      }
      let outcome = try lose(one.loss, after: one.prelude, setup)
      #expect(outcome.checkpoint >= 4 && outcome.check.bad == 0)
      #expect(outcome.offline.allSatisfy { $0.bad == 0 && $0.sectors > 0 })
      #expect(outcome.released.count == PacketWitness.Kind.allCases.count)
    }

    @Test("the circle: it goes on at the standby, is protected back, and goes on where it began")
    func circle() throws {
      try requireDiskGuest()
      let circle = try GuestCircle()
      defer { circle.end() }
      for number in 0..<2 {
        let turn = try circle.turn(number)
        #expect(turn.checkpoint >= 8 && turn.check.bad == 0 && turn.check.sectors > 0)
        #expect(turn.offline.allSatisfy { $0.bad == 0 && $0.sectors > 0 })
      }
    }

    @Test("without epochs its disks are not what its memory knows, and that is seen")
    func withoutEpochs() throws {
      var setup = WholeGuest.Setup()
      (setup.hasEpochs, setup.delay) = (false, 500)
      #expect(throws: Inconsistency.self) { try lose(.primary, setup) }
    }

    @Test("packets that were not held are not what it remembers, and that is seen")
    func withoutHolder() throws {
      var setup = WholeGuest.Setup()
      (setup.holdsPackets, setup.delay) = (false, 500)
      #expect(throws: Inconsistency.self) { try lose(.primary, setup) }
    }

    private func lose(
      _ loss: WholeGuest.Loss, after prelude: WholeGuest.Prelude = .none, _ setup: WholeGuest.Setup
    ) throws -> WholeGuest.Outcome {
      try requireDiskGuest()
      let guest = try WholeGuest(setup)
      defer { guest.end() }
      try guest.play(prelude)
      try guest.waitCheckpoint(guest.checkpoint + 3)
      // In the middle of an interval: it has written and sent something since.
      Thread.sleep(forTimeInterval: Double(setup.delay) / 2000)
      var random = SystemRandomNumberGenerator()
      return try guest.lose(loss, &random)
    }
  }
}
