import CHarness

/// In a full run the rules on packets hold at both ends of every option, not only with the defaults:
/// the same test, shorter, once more with each of them, as far as a little time goes. Memory that
/// fails and what is given back are looked at with every one, in brief.
enum OptionEnds {
  private static let groups: [TestGroup] = [.roundtrip, .bounds, .hostile, .order, .determinism]
  private static let brief = [
    "lifecycle/failed-setup", "faults/allocation", "resources/memory-channels",
    "resources/descriptors", "resources/threads",
  ]
  /// These see to options themselves, start processes, or search.
  private static let others = [
    "roundtrip/changing-pages", "roundtrip/long-stream", "determinism/processes",
    "bounds/payload-bound", "hostile/bomb", "order/independent-order",
  ]
  /// Some ends of some codecs cost seconds a packet. Nanoseconds, for each test.
  private static func time(_ test: String, _ context: Context) -> UInt64 {
    if brief.contains(test) { return 2_000_000_000 }
    return context.order.isLong ? 500_000_000 : 150_000_000
  }

  static func repeated(
    _ test: String, _ body: Rules.Body, _ context: Context
  ) throws(Stop) {
    guard let group = Catalogue.test(test)?.group,
      brief.contains(test) || groups.contains(group) && !others.contains(test),
      Turns.isFirst(alike: test)
    else { return }
    let all = try Options.extremes(context)
    guard !all.isEmpty else { return }
    // Where the time ends is not at the same option in every test.
    let first = Int(context.random("options").state % UInt64(all.count))
    let deadline = charness_now() + time(test, context)
    for options in all[first...] + all[..<first] where charness_now() < deadline {
      // A test has hundreds of channels.
      if !context.order.isLong, try Options.isSlow(options, context) { continue }
      guard try Options.holds(options, context) else { continue }
      do throws(Stop) {
        try body(context.with(options, deadline: deadline))
      } catch {
        // A test that does not apply here has been of use with the defaults.
        if case .failed = error { throw .failed }
      }
      if context.hasFailed { return }
    }
  }
}
