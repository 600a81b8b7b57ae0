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

  mutating func add(_ sample: TransferLane.StockSample) {
    stock.append(sample.wall)
    stockSourceProcessor.append(sample.source)
    stockDestinationProcessor.append(sample.destination)
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
      "receive-ratio": .number(median(stock) / median(receive)),
      "send-ratio": .number(median(stock) / median(send)),
    ]
  }

  private func line(
    _ title: String, _ times: [Duration], _ processor: [Duration]?, _ stockProcessor: [Duration]?
  ) -> String {
    let middle = median(times)
    var text = column("\(compression), \(title)", 24) + column(spread(times), 26)
    text += column(String(format: "%.2f", Double(bytes) / middle / 1e9), 8)
    guard let processor, let stockProcessor else { return text }
    text += column(String(format: "%.2fx", median(stock) / middle), 16)
    let gigabytes = Double(bytes) / 1e9
    return text
      + String(
        format: "%.2f : %.2f", median(processor) / gigabytes,
        median(stockProcessor) / gigabytes)
  }
}
