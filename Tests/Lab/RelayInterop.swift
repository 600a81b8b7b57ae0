import TestSupport

/// The part of the matrix in which guests pass through relays.
///
/// Each pair of QEMUs meets each format; channels, sockets and return path are dealt out so that
/// each value of each meets each value of all others.
struct RelayInterop {
  /// `none` is no `--compression` at all.
  static let compressions = [
    "none", "nocomp", "zlib", "zstd", "lz4", "igzip", "rle-c", "pool", "auto",
  ]

  private static let examples = ["rle-c", "pool"]

  private static let pairs: [(QEMUVersion, QEMUVersion)] = [
    (.v100, .v100), (.v100, .v111), (.v111, .v100), (.v111, .v111), (.v72, .v72),
  ]

  private let options: Interop

  init(_ options: Interop) { self.options = options }

  func run(_ guests: SavedGuests) throws -> RelayMatrix {
    let examples = try ExamplePlugins(Self.examples.filter(isWanted))
    defer { examples.remove() }
    let cells =
      Self.cells.filter { options.wants($0.source, $0.destination, $0.name, $0.channels) }
      + RelayWay.all.filter { options.wants($0.source, $0.destination, $0.name, $0.channels) }
    var matrix = RelayMatrix()
    for (index, cell) in cells.enumerated() {
      let result = measure(cell, guests, examples)
      matrix.rows.append((cell, result))
      note("[\(index + 1)/\(cells.count)] \(cell): \(result)")
    }
    return matrix
  }

  private func isWanted(_ name: String) -> Bool {
    options.compression?.elements.contains(name) ?? true
  }

  /// Two relays with a link between them.
  private static var cells: [RelayWay] {
    var cells: [RelayWay] = []
    for (row, pair) in pairs.enumerated() {
      for (column, name) in (["plain"] + compressions).enumerated() {
        let number = column - 1
        // With these, all pairs of values occur.
        var passage = RelayPassage(
          pair.0, pair.1, channels: name == "plain" ? 0 : [1, 2, 4, 8][(row + number + 4) % 4],
          compression: name == "none" || name == "plain" ? nil : name)
        passage.isLocal = (row + 2 * number) / 2 % 2 == 0
        passage.returnPath = (3 * row + number) / 3 % 2 == 0
        cells.append(RelayWay(passage, name == "plain" ? "none" : name))
      }
    }
    return cells
  }

  private func measure(
    _ cell: RelayWay, _ guests: SavedGuests, _ examples: ExamplePlugins
  ) -> Matrix.Result {
    for version in [cell.source, cell.destination]
    where !version.isAvailableElseAnnounce("relays with QEMU \(version)") {
      return .skipped
    }
    if examples.missing[cell.name] != nil { return .skipped }
    if cell.name == "igzip", let reason = Lab.igzipUnavailable {
      reason.announce("relays with igzip")
      return .skipped
    }
    do {
      let saved = try guests.guest(cell.source, cell.machine)
      let start = ContinuousClock.now
      try cell.run(saved, examples.arguments)
      return .passed(start.duration(to: .now))
    } catch {
      return .failed("\(error)")
    }
  }
}
