import TestSupport

/// Which backends there are to measure.
struct BenchBackends {
  /// A backend that can be opened.
  struct Backend {
    let name: String
    let wireFormat: String
    /// The library.
    let path: String
  }

  /// Those that `multifd plugins list` has, by name.
  let all: [Backend]

  /// Looks.
  init() throws {
    let result = try MultiFDProcess.run(["plugins", "list", "--json"])
    guard result.code == 0 else { throw LabError("multifd plugins list: \(result)") }
    all = result.json.elements.compactMap { entry in
      let backend = entry["backend"]
      guard let name = backend["name"].string, let format = backend["wire-format"].string,
        let path = backend["path"].string
      else { return nil }
      return Backend(name: name, wireFormat: format, path: path)
    }
  }

  /// Those that speak what a stock QEMU calls by this name: its own first.
  func speaking(_ compression: String) -> [Backend] {
    all.filter { $0.wireFormat == "\(compression)/1" }
      .sorted { first, _ in first.name == compression }
  }

  /// For `--compression`: that backend, where the name alone would mean any of its format.
  static func spec(_ name: String) -> String { name == "zlib" ? "zlib,level=1" : name }
}
