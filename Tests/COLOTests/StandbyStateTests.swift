import COLO
import Testing

@Suite("The states of a standby")
struct StandbyStateTests {
  /// Every state with small numbers.
  static let all: [StandbyState] =
    [.precopy, .ready]
    + (0...3).flatMap {
      [.receiving($0), .committing($0), .committed($0), .lost($0), .failingOver($0)]
    }

  /// Every way there is, drawn as in the head of the type's file.
  static let ways: [(StandbyState, StandbyState)] = [
    (.precopy, .ready),
    (.ready, .receiving(1)), (.ready, .lost(0)),
    (.receiving(1), .committing(1)), (.committing(1), .committed(1)),
    (.committed(1), .receiving(2)),
    (.receiving(2), .committing(2)), (.committing(2), .committed(2)),
    (.committed(2), .receiving(3)),
    (.receiving(3), .committing(3)), (.committing(3), .committed(3)),
    // A checkpoint that has not been committed is none.
    (.receiving(1), .lost(0)), (.committing(1), .lost(0)), (.committed(1), .lost(1)),
    (.receiving(2), .lost(1)), (.committing(2), .lost(1)), (.committed(2), .lost(2)),
    (.receiving(3), .lost(2)), (.committing(3), .lost(2)), (.committed(3), .lost(3)),
    (.lost(0), .failingOver(0)), (.lost(1), .failingOver(1)), (.lost(2), .failingOver(2)),
    (.lost(3), .failingOver(3)),
    // No QEMU has it, and another may try.
    (.failingOver(0), .lost(0)), (.failingOver(1), .lost(1)), (.failingOver(2), .lost(2)),
    (.failingOver(3), .lost(3)),
    // Not reached from outside, and harmless.
    (.committed(0), .receiving(1)), (.committed(0), .lost(0)), (.receiving(0), .committing(0)),
    (.committing(0), .committed(0)),
  ]

  @Test("From each state to each: only the ways that are drawn, and nothing changes otherwise")
  func table() {
    for from in Self.all {
      for to in Self.all {
        var state = from
        let expected = Self.ways.contains { $0 == (from, to) }
        #expect(state.advance(to: to) == expected, "\(from) -> \(to)")
        #expect(state == (expected ? to : from))
      }
    }
  }

  @Test("The checkpoint that a failover would continue from")
  func lastCommitted() {
    let expected: [(StandbyState, Int?, String)] = [
      (.precopy, nil, "precopy"),
      (.ready, 0, "ready"), (.receiving(1), 0, "receiving 1"), (.committing(1), 0, "committing 1"),
      (.committed(1), 1, "committed 1"), (.receiving(7), 6, "receiving 7"),
      (.committing(7), 6, "committing 7"), (.committed(7), 7, "committed 7"),
      (.lost(7), 7, "lost 7"), (.failingOver(7), 7, "failing over 7"),
    ]
    for (state, number, text) in expected {
      #expect(state.lastCommitted == number, "\(state)")
      #expect("\(state)" == text)
    }
  }

  @Test("No way loses a committed checkpoint")
  func monotonous() {
    for (from, to) in Self.ways where from.lastCommitted != nil {
      #expect(to.lastCommitted! >= from.lastCommitted!, "\(from) -> \(to)")
    }
  }
}
