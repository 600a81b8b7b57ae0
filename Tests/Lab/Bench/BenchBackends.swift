import TestSupport

/// Which backends there are to measure.
final class BenchBackends {
  /// A backend that can be opened.
  struct Backend {
    let name: String
    let wireFormat: String
    /// The library.
    let path: String
  }

  /// Those that `multifd plugins list` has, by name.
  let all: [Backend]
  private let examples: ExamplePlugins?

  /// `--plugin-dir` for those that `multifd` does not find by itself.
  var arguments: [String] { examples?.arguments ?? [] }

  /// Looks; an igzip that is not there is built from the examples, where that can be done.
  init() throws {
    let found = try Self.list([])
    guard !found.contains(where: { $0.name == "igzip" }) else {
      (all, examples) = (found, nil)
      return
    }
    let examples = try ExamplePlugins(["igzip"])
    self.examples = examples
    all = try Self.list(examples.arguments)
  }

  /// Those that speak what a stock QEMU calls by this name: its own first.
  func speaking(_ compression: String) -> [Backend] {
    all.filter { $0.wireFormat == "\(compression)/1" }
      .sorted { first, _ in first.name == compression }
  }

  func remove() { examples?.remove() }

  private static func list(_ arguments: [String]) throws -> [Backend] {
    let result = try MultiFDProcess.run(["plugins", "list", "--json"] + arguments)
    guard result.code == 0 else { throw LabError("multifd plugins list: \(result)") }
    return result.json.elements.compactMap { entry in
      let backend = entry["backend"]
      guard let name = backend["name"].string, let format = backend["wire-format"].string,
        let path = backend["path"].string
      else { return nil }
      return Backend(name: name, wireFormat: format, path: path)
    }
  }
}
