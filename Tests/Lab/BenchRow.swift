import Foundation
import TestSupport

/// The figures of one compression.
struct BenchRow {
  let compression: String
  /// The guest's memory.
  let bytes: Int
  var stock: [Duration] = []
  var receive: [Duration] = []
  var receiveProcessor: [Duration] = []
  var send: [Duration] = []
  var sendProcessor: [Duration] = []

  init(compression: String, bytes: Int) {
    self.compression = compression
    self.bytes = bytes
  }

  static let head =
    column("", 24) + column("time", 26) + column("GB/s", 8) + column("ratio to stock", 16)
    + "CPU of multifd"

  var lines: [String] {
    [
      line("stock to stock", stock, processor: nil),
      line("multifd receive", receive, processor: receiveProcessor),
      line("multifd send", send, processor: sendProcessor),
    ]
  }

  var json: JSON {
    func numbers(_ durations: [Duration]) -> JSON {
      .array(durations.map { .number($0.inSeconds) })
    }
    return [
      "compression": .string(compression), "bytes": .integer(Int64(bytes)),
      "stock": numbers(stock), "receive": numbers(receive), "send": numbers(send),
      "receive-ratio": .number(Self.median(stock) / Self.median(receive)),
      "send-ratio": .number(Self.median(stock) / Self.median(send)),
    ]
  }

  private func line(_ title: String, _ times: [Duration], processor: [Duration]?) -> String {
    let median = Self.median(times)
    let all = times.map(\.inSeconds)
    let spread = String(format: "%.3f s (%.3f-%.3f)", median, all.min() ?? 0, all.max() ?? 0)
    var text = Self.column("\(compression), \(title)", 24) + Self.column(spread, 26)
    text += Self.column(String(format: "%.2f", Double(bytes) / median / 1e9), 8)
    guard let processor else { return text }
    text += Self.column(String(format: "%.2fx", Self.median(stock) / median), 16)
    return text + String(format: "%.2f s/GB", Self.median(processor) / (Double(bytes) / 1e9))
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
