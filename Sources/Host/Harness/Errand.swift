import PluginLoader

/// What a run has a child do for the run's own sake. A backend's code runs in children only, so
/// whatever has to be asked of it is asked there; but it is no rule, and in no list of tests.
enum Errand {
  /// Whether the host takes the options that the run was given.
  static let options = TestDescription("options/given", "the host takes the options of this run")

  /// What becomes of one payload.
  static let decoding = TestDescription("fuzz/given", "what the payload of a file decodes to")

  /// What is done, by name.
  static let bodies: [String: Rules.Body] = [
    options.id: refuse, decoding.id: Decoding.perform,
  ]

  /// A run with an option that there is not would pass and prove nothing. The host decides, by the
  /// backend's own table and in the host's words.
  @Sendable private static func refuse(_ context: Context) throws(Stop) {
    let library = try context.library
    let refusal = Backend.refusal(
      of: context.order.assignments, table: library.address, name: library.name)
    if let refusal {
      context.fail(refusal.description + (refusal.hint.map { "; \($0)" } ?? ""))
    }
  }
}
