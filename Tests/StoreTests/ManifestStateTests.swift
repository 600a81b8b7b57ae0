import Store
import Testing

@Suite("What a manifest may say next")
struct ManifestStateTests {
  typealias State = Manifest.State

  /// Every step, as drawn in the head of the type's file.
  static let steps: [(State, State)] = [
    (.receiving, .held), (.receiving, .standby), (.receiving, .unsettled),
    (.unsettled, .held),
    (.held, .handingOver), (.standby, .handingOver),
    (.handingOver, .handedOver),
  ]
  /// Those that need force, too.
  static let forced: [(State, State)] = [
    (.unsettled, .handingOver), (.handingOver, .handingOver), (.handedOver, .handingOver),
  ]
  /// What a hand-over may have been begun from.
  static let givable: [State] = [.held, .standby, .unsettled, .handingOver, .handedOver]

  @Test("From each state to each, by force and back: only the steps that are drawn")
  func table() {
    for from in State.allCases {
      for to in State.allCases {
        let step = Self.steps.contains { $0 == (from, to) }
        #expect(from.leads(to: to) == step, "\(from) -> \(to)")
        let isForced = Self.forced.contains { $0 == (from, to) }
        #expect(from.leads(to: to, forced: true) == (step || isForced), "\(from) -> \(to)")
        for before in State.allCases {
          let isBack = from == .handingOver && to == before && Self.givable.contains(before)
          #expect(
            from.leads(to: to, before: before) == (step || isBack),
            "\(from) -> \(to), begun from \(before)")
        }
      }
    }
  }

  @Test("What is over is over: no step makes a guest ours that somebody may have, but a refusal")
  func ours() {
    for from in [State.handingOver, .handedOver] {
      for to in [State.receiving, .held, .standby, .unsettled] {
        #expect(!from.leads(to: to) && !from.leads(to: to, forced: true), "\(from) -> \(to)")
      }
    }
    for state in State.allCases { #expect(!state.leads(to: .receiving, before: .receiving)) }
  }
}
