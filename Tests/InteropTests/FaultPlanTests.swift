import TestSupport
import Testing

/// What `multifd-lab soak` draws.
@Suite("Faults from a seed")
struct FaultPlanTests {
  private static func plans(seed: UInt64, hasRoom: Bool = true) -> [FaultPlan] {
    (1...400).map { FaultPlan(seed: seed, guest: $0, hasRoom: hasRoom) }
  }

  @Test("The same seed has the same faults, another one others")
  func same() {
    #expect(Self.plans(seed: 5) == Self.plans(seed: 5))
    #expect(Self.plans(seed: 5) != Self.plans(seed: 6))
  }

  @Test("Each kind of fault comes, and each loss")
  func all() {
    let plans = Self.plans(seed: 1)
    let faults = plans.flatMap(\.steps).map(\.fault)
    let kinds = Set(faults.map(\.kind))
    let some = [
      "latency", "loss", "reordering", "unplugged", "full", "cut all", "stop qemu", "kill spare",
      "kill keeper", "term guardian", "term keeper", "worker short of memory",
      "protector short of descriptors", "starved",
    ]
    #expect(kinds.isSuperset(of: some + Fault.Misdeed.allCases.map { "backend \($0)" }))
    #expect(Set(plans.map(\.loss)) == Set(WholeGuest.Loss.allCases))
  }

  @Test("A standby that fails over by itself meets nothing that looks like a lost primary")
  func gentle() {
    for plan in Self.plans(seed: 2) where plan.onLoss != .hold {
      #expect(!plan.loss.leavesPrimary)
      for step in plan.steps {
        #expect([.goesOn, .falls].contains(step.course), "\(step)")
      }
    }
  }

  @Test("Where no file system can be filled all else is the same")
  func room() {
    for (plan, other) in zip(Self.plans(seed: 3), Self.plans(seed: 3, hasRoom: false)) {
      #expect(plan.steps.filter { $0.fault != .full } == other.steps)
      #expect(other.loss != .full)
    }
  }
}
