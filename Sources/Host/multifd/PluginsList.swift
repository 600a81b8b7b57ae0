import PluginLoader

/// The table of `multifd plugins list`: a row a file, printed before the next one is known. So its
/// columns are as wide as the names of the files let expect.
struct PluginsList {
  private let names: Int
  private let formats: Int
  private var hasStarted = false
  private var hasUsable = false

  /// - Parameter names: of all files that there will be rows for.
  init(names: [String]) {
    // What is longer than a backend's name can be is none, and need not fit.
    self.names = max(4, names.map(\.count).filter { $0 <= 31 }.max() ?? 0)
    formats = max(6, self.names + 2)
  }

  /// One file's row; the first with the heading before it.
  mutating func row(_ finding: PluginFinding) -> String {
    let heading = line(["NAME", "VERSION", "FORMAT", "QEMU", "DESCRIPTION"])
    let row: String
    switch finding.result {
    case .success(let backend):
      hasUsable = true
      row = line([
        backend.name, backend.version, backend.wireFormat,
        backend.qemuMethod == nil ? "-" : backend.qemuMethodName, backend.description,
      ])
    case .failure(let error):
      let state = error.kind == .shadowed ? "not used" : "cannot be used"
      let reason = "\(state): \(shown(finding.path)): \(error.why)"
      row = line([shown(finding.name), "-", "-", "-", reason])
    }
    defer { hasStarted = true }
    return hasStarted ? row : heading + "\n" + row
  }

  /// What to say where nothing can be used.
  func nothing(in folders: [String]) -> String? {
    if hasUsable { return nil }
    let places = folders.isEmpty ? "nothing" : shown(folders.joined(separator: ", "))
    return (hasStarted ? "\n" : "") + "No backend can be used. Searched: \(places)"
  }

  /// The last cell is not broken into lines: a reason is one line, for grep too.
  private func line(_ cells: [String]) -> String {
    zip(cells, [names, 7, formats, 4, 0]).map { cell, width in
      cell + String(repeating: " ", count: max(0, width - cell.count))
    }.joined(separator: "  ")
  }
}
