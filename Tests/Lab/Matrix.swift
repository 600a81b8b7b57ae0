import TestSupport

/// The results of an interop run through stores, as a table: a row for each pair of QEMUs, a column for each way
/// of sending.
struct Matrix {
  /// A way of sending.
  struct Column: Hashable {
    let channels: Int
    let compression: String
    var title: String { channels == 0 ? "plain" : "\(compression) x\(channels)" }
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
        "FAIL: " + reason.split(whereSeparator: \.isNewline).joined(separator: " | ")
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
    let width = 12
    func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(1, width - text.count))
    }
    var lines = [pad("", 14) + columns.map { pad($0.title, width) }.joined()]
    for row in rows {
      let cells = columns.map { column in
        let cell = Passage.Cell(
          row.source, row.destination, channels: column.channels, compression: column.compression)
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
          let cell = Passage.Cell(
            row.source, row.destination, channels: column.channels, compression: column.compression)
          var object: [String: JSON] = [
            "part": "store", "source": .string("\(row.source)"),
            "destination": .string("\(row.destination)"),
            "channels": .integer(Int64(column.channels)),
            "compression": .string(column.compression),
          ]
          (results[cell] ?? .skipped).tell(&object)
          return .object(object)
        }
      })
  }
}
