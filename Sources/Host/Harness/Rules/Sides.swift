import PluginLoader

/// What a backend of one direction is not asked: its partner would answer.
enum Sides {
  /// - Throws: when the test is about a direction that the backend does not have, or measures both.
  static func check(_ test: String, _ library: Library) throws(Stop) {
    let decodes = test.hasPrefix("hostile/") || ["fuzz/decode", "golden/payloads"].contains(test)
    if decodes, !library.has(.receive) { throw .skipped("it does not decode") }
    if test.hasPrefix("perf/") {
      _ = try library.side(.send)
      _ = try library.side(.receive)
    }
  }
}
