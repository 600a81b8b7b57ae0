import TestSupport

/// The results of guests that passed through relays: a table, a row for each pair of QEMUs, a
/// column for each format; and below it a line for each way that has no place there.
struct RelayMatrix {
  var rows: [(cell: RelayWay, result: Matrix.Result)] = []

  var failures: Int { rows.count { if case .failed = $0.result { true } else { false } } }

  private var skips: Int { rows.count { if case .skipped = $0.result { true } else { false } } }

  var summary: String {
    "\(rows.count - failures - skips) ok, \(failures) failed, \(skips) skipped"
  }

  private struct Pair: Hashable {
    let source: QEMUVersion
    let destination: QEMUVersion
  }

  /// `ok 3.10 s x4ur`: channels, UNIX sockets or TCP, return path or none.
  var table: String {
    func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(1, width - text.count))
    }
    func column(_ cell: RelayWay) -> String { cell.channels == 0 ? "plain" : cell.name }
    func first<T: Hashable>(_ values: [T]) -> [T] {
      var seen: Set<T> = []
      return values.filter { seen.insert($0).inserted }
    }
    let cells = rows.filter { $0.cell.title == nil }
    let columns = first(cells.map { column($0.cell) })
    var lines = cells.isEmpty ? [] : [pad("", 14) + columns.map { pad($0, 15) }.joined()]
    for pair in first(cells.map { Pair(source: $0.cell.source, destination: $0.cell.destination) })
    {
      let texts = columns.map { name in
        let found = cells.first {
          $0.cell.source == pair.source && $0.cell.destination == pair.destination
            && column($0.cell) == name
        }
        return found.map { "\($0.result.short) \($0.cell.small)" } ?? "-"
      }
      lines.append(
        pad("\(pair.source) -> \(pair.destination)", 14) + texts.map { pad($0, 15) }.joined())
    }
    for (cell, result) in rows {
      guard let title = cell.title else { continue }
      lines.append(pad(result.short, 12) + pad(title, 52) + "\(cell)")
    }
    return lines.joined(separator: "\n")
  }

  var json: JSON {
    .array(
      rows.map { cell, result in
        var object: [String: JSON] = ["part": "relay", "way": .string("\(cell)")]
        result.tell(&object)
        return .object(object)
      })
  }
}
