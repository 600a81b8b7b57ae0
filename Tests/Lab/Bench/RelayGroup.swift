import Foundation
import TestSupport

/// One way of a guest, and what it took.
struct RelayRow {
  /// What is on the link between relays; nil: no relay.
  let format: String?
  var samples: [BenchWay.Sample] = []
  /// Why it could not be measured.
  var failure: String?

  var title: String { format.map { "relays, \($0)" } ?? "direct, none" }

  /// Seconds.
  var time: Double { median(samples.map(\.wall)) }

  /// Processor seconds per GiB of pages with contents, of each of the four processes.
  var processor: [Double?] {
    (0..<4).map { index in
      let all = samples.compactMap { sample in
        sample.processor[index].map { $0 / (Double(sample.contents) / Double(1 << 30)) }
      }
      return all.isEmpty ? nil : median(all)
    }
  }
}

/// All ways of one guest over one link.
struct RelayGroup {
  let link: BenchRelay.Link
  let machine: QEMU.Machine
  var rows: [RelayRow]

  init(_ link: BenchRelay.Link, _ machine: QEMU.Machine, _ formats: [String]) {
    self.link = link
    self.machine = machine
    rows = [RelayRow(format: nil)] + formats.map { RelayRow(format: $0) }
  }

  var title: String { "\(link), \(machine.memory) MiB \(machine.mix)" }
  var hasFailed: Bool { rows.contains { $0.failure != nil } }

  /// How much faster than the direct way; nan where one of them was not measured.
  func ratio(_ format: String) -> Double {
    rows[0].time / (rows.first { $0.format == format }?.time ?? .nan)
  }

  // MARK: Telling

  static let head =
    column("", 42) + column("time", 26) + column("GB/s", 8) + column("ratio", 8)
    + column("sent", 12) + "CPU s/GiB: source, near relay, far relay, destination"

  var lines: [String] {
    rows.map { row in
      let title = column("\(title), \(row.title)", 42)
      if let failure = row.failure { return title + "FAILED: \(failure)" }
      guard let last = row.samples.last else { return title + "not measured" }
      return title + column(spread(row.samples.map(\.wall)), 26)
        + column(String(format: "%.2f", Double(last.contents) / row.time / 1e9), 8)
        + column(String(format: "%.2fx", rows[0].time / row.time), 8)
        + column(size(last.wire), 12)
        + row.processor.map { $0.map { String(format: "%5.2f", $0) } ?? "    -" }
        .joined(separator: " ")
    }
  }

  var json: [JSON] {
    rows.map { row in
      func numbers(_ values: [Double?]) -> JSON { .array(values.map { .number($0 ?? 0) }) }
      return [
        "link": .string("\(link)"), "memory": .integer(Int64(machine.memory)),
        "mix": .string(machine.mix), "way": .string(row.format ?? "direct"),
        "times": numbers(row.samples.map { $0.wall.inSeconds }),
        "ratio": .number(rows[0].time / row.time),
        "contents": .integer(Int64(row.samples.last?.contents ?? 0)),
        "sent": .integer(Int64(row.samples.last?.wire ?? 0)),
        "cpu-seconds-per-gib": numbers(row.processor),
        "failure": row.failure.map { .string($0) } ?? .null,
      ]
    }
  }

  /// What is aimed at where it can be told from these rows, and what came of it.
  var aims: [String] {
    var lines: [String] = []
    func aim(_ what: String, _ value: Double, atLeast least: Double) {
      guard value.isFinite else { return }
      let verdict = value >= least ? "met" : "MISSED"
      lines.append(
        "\(title): \(what) at least \(String(format: "%.2f", least)), is "
          + "\(String(format: "%.2f", value)): \(verdict)")
    }
    switch (link, machine.mix) {
    case (.loopback, _): aim("raw to direct", ratio("raw"), atLeast: 0.8)
    case (.limited, "rand"): aim("auto to raw", ratio("auto") / ratio("raw"), atLeast: 0.97)
    case (.limited(let megabits), _):
      if megabits == 1000 { aim("lz4 to direct", ratio("lz4"), atLeast: 2.5) }
      let fixed = rows.compactMap(\.format).filter { $0 != "auto" }.map { (ratio($0), $0) }
      guard let best = fixed.filter({ $0.0.isFinite }).max(by: { $0.0 < $1.0 }) else { break }
      aim("auto to the best fixed (\(best.1))", ratio("auto") / best.0, atLeast: 0.95)
    }
    return lines
  }
}
