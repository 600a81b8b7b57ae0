import Foundation
import TestSupport

/// The figures of one compression.
struct BenchRow {
  let compression: String
  /// The guest's memory.
  let bytes: Int
  private var stock: [Duration] = []
  private var stockSourceProcessor: [Duration] = []
  private var stockDestinationProcessor: [Duration] = []
  var receive: [Duration] = []
  var receiveProcessor: [Duration] = []
  var send: [Duration] = []
  var sendProcessor: [Duration] = []

  init(compression: String, bytes: Int) {
    self.compression = compression
    self.bytes = bytes
  }

  mutating func add(_ report: StockMigration.Report) {
    stock.append(report.outcome.wall)
    stockSourceProcessor.append(report.sourceProcessorTime)
    stockDestinationProcessor.append(report.destinationProcessorTime)
  }

  static let head =
    column("", 24) + column("time", 26) + column("GB/s", 8) + column("ratio to stock", 16)
    + "CPU s/GB, multifd : stock in its place"

  var lines: [String] {
    [
      line("stock to stock", stock, nil, nil),
      line("multifd receive", receive, receiveProcessor, stockDestinationProcessor),
      line("multifd send", send, sendProcessor, stockSourceProcessor),
    ]
  }

  var json: JSON {
    func numbers(_ durations: [Duration]) -> JSON {
      .array(durations.map { .number($0.inSeconds) })
    }
    return [
      "compression": .string(compression), "bytes": .integer(Int64(bytes)),
      "stock": numbers(stock), "receive": numbers(receive), "send": numbers(send),
      "receive-cpu": numbers(receiveProcessor), "send-cpu": numbers(sendProcessor),
      "stock-source-cpu": numbers(stockSourceProcessor),
      "stock-destination-cpu": numbers(stockDestinationProcessor),
      "receive-ratio": .number(Self.median(stock) / Self.median(receive)),
      "send-ratio": .number(Self.median(stock) / Self.median(send)),
    ]
  }

  private func line(
    _ title: String, _ times: [Duration], _ processor: [Duration]?, _ stockProcessor: [Duration]?
  ) -> String {
    let median = Self.median(times)
    let all = times.map(\.inSeconds)
    let spread = String(format: "%.3f s (%.3f-%.3f)", median, all.min() ?? 0, all.max() ?? 0)
    var text = Self.column("\(compression), \(title)", 24) + Self.column(spread, 26)
    text += Self.column(String(format: "%.2f", Double(bytes) / median / 1e9), 8)
    guard let processor, let stockProcessor else { return text }
    text += Self.column(String(format: "%.2fx", Self.median(stock) / median), 16)
    let gigabytes = Double(bytes) / 1e9
    return text
      + String(
        format: "%.2f : %.2f", Self.median(processor) / gigabytes,
        Self.median(stockProcessor) / gigabytes)
  }

  private static func median(_ durations: [Duration]) -> Double {
    let sorted = durations.map(\.inSeconds).sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  private static func column(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
