import TestSupport

/// The results of an interop run through stores, as a table: a row for each pair of QEMUs, a column for each way
/// of sending.
struct Matrix {
  /// A way of sending.
  struct Column: Hashable {
    let channels: Int
    let compression: String
    var tls: Credentials.Kind?
    var title: String {
      (channels == 0 ? "plain" : "\(compression) x\(channels)") + (tls.map { " \($0)" } ?? "")
    }

    /// It, between two QEMUs.
    func cell(_ source: QEMUVersion, _ destination: QEMUVersion) -> Passage.Cell {
      var cell = Passage.Cell(source, destination, channels: channels, compression: compression)
      cell.tls = tls
      cell.isLive = source > .v72
      return cell
    }
  }

  /// What became of one cell.
  enum Result: CustomStringConvertible {
    case passed(Duration)
    case failed(String)
    case skipped

    var description: String {
      switch self {
      case .passed(let time): "ok, \(seconds(time))"
      case .failed(let reason):
        "FAIL: " + oneLine(reason)
      case .skipped: "skipped"
      }
    }

    /// Its members of a cell in JSON.
    func tell(_ object: inout [String: JSON]) {
      switch self {
      case .passed(let time):
        object["result"] = "ok"
        object["seconds"] = .number(time.inSeconds)
      case .failed(let reason):
        object["result"] = "failed"
        object["reason"] = .string(reason)
      case .skipped: object["result"] = "skipped"
      }
    }

    var short: String {
      switch self {
      case .passed(let time): "ok " + seconds(time)
      case .failed: "FAIL"
      case .skipped: "skip"
      }
    }
  }

  let columns: [Column]
  private var rows: [(source: QEMUVersion, destination: QEMUVersion)] = []
  private var results: [Passage.Cell: Result] = [:]

  init(columns: [Column]) { self.columns = columns }

  mutating func set(_ cell: Passage.Cell, _ result: Result) {
    if !rows.contains(where: { $0 == (cell.source, cell.destination) }) {
      rows.append((cell.source, cell.destination))
    }
    results[cell] = result
  }

  var failures: Int {
    results.values.count { if case .failed = $0 { true } else { false } }
  }

  private var skips: Int {
    results.values.count { if case .skipped = $0 { true } else { false } }
  }

  var summary: String {
    "\(results.count - failures - skips) ok, \(failures) failed, \(skips) skipped"
  }

  var table: String {
    let width = max(12, (columns.map(\.title.count).max() ?? 0) + 2)
    func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(1, width - text.count))
    }
    var lines = [pad("", 14) + columns.map { pad($0.title, width) }.joined()]
    for row in rows {
      let cells = columns.map { column in
        let cell = column.cell(row.source, row.destination)
        return pad(results[cell]?.short ?? "-", width)
      }
      lines.append(pad("\(row.source) -> \(row.destination)", 14) + cells.joined())
    }
    return lines.joined(separator: "\n")
  }

  var json: JSON {
    .array(
      rows.flatMap { row in
        columns.map { column -> JSON in
          let cell = column.cell(row.source, row.destination)
          var object: [String: JSON] = [
            "part": "store", "source": .string("\(row.source)"),
            "destination": .string("\(row.destination)"),
            "channels": .integer(Int64(column.channels)),
            "compression": .string(column.compression),
          ]
          if let tls = column.tls { object["tls"] = .string(tls.rawValue) }
          (results[cell] ?? .skipped).tell(&object)
          return .object(object)
        }
      })
  }
}
