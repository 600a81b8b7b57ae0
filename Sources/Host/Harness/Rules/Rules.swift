// What a backend is held to: a file for each group of tests, named after it. A test gets a Context
// (its order, random numbers, a place to report), opens the library by it, and is over when it
// returns or throws a Stop. What it finds it puts down to the test whose rule is broken, which need
// not be itself.

/// The code of every test, by name.
package enum Rules {
  /// The tests that have code.
  package static var names: Set<String> { Set(all.keys) }

  typealias Body = @Sendable (Context) throws(Stop) -> Void

  static let all: [String: Body] =
    [
      Load.bodies, ABI.bodies, Options.bodies, Lifecycle.bodies,
      Roundtrip.bodies, Bounds.bodies, Hostile.bodies, Isolation.bodies,
      Order.bodies, InFlight.bodies, Determinism.bodies, Resources.bodies, Faults.bodies,
      Golden.bodies,
      Fuzz.bodies, Perf.bodies,
    ].reduce(into: [:]) { all, some in all.merge(some) { first, _ in first } }

  /// Runs the test of an order. What is wrong has been reported when this returns.
  static func run(_ order: ChildOrder, _ reporter: Reporter) {
    let context = Context(order, reporter)
    // Here and not later: tests count descriptors.
    PageFile.current = order.pageFile.flatMap { PageFile($0) }
    context.trace = order.trace.flatMap { CallTrace($0, test: order.test) }
    guard let body = all[order.test] ?? Errand.bodies[order.test] else {
      reporter.find(nil, "this test has no body")
      return
    }
    do {
      if !order.test.hasPrefix("load/") { try Sides.check(order.test, try context.library) }
      Block.report(to: reporter, isQuick: order.isQuick)
      context.noteState()
      try body(context)
      if !order.isQuick, !context.hasFailed { try OptionEnds.repeated(order.test, body, context) }
      if !order.test.hasPrefix("load/") { context.checkState("while it was used") }
    } catch {
      switch error {
      case .skipped(let reason): if reporter.count() == 0 { reporter.say(.skipped(reason)) }
      case .missed(let reason): if reporter.count() == 0 { reporter.say(.missed(reason)) }
      case .failed: reporter.say(.stopped)
      }
    }
  }
}
