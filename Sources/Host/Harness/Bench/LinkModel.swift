import Chart

/// What a backend's speed means on a link: the slowest of encoding, the wire and decoding.
///
/// The three work at the same time, on packets of several channels. The wire carries payload, of
/// which a byte stands for `ratio` bytes of pages; what a host adds to a packet (56 bytes and 8 for
/// each page) is left out.
struct LinkModel: Equatable {
  let name: String
  /// Bytes of pages in a second, all channels together.
  let encode: Double
  let decode: Double
  let ratio: Double

  /// Gbit/s.
  static let links = [1.0, 10, 25, 100]

  /// Bytes of pages in a second on a link of that many Gbit/s.
  func rate(on link: Double) -> Double { min(encode, decode, link * 1e9 / 8 * ratio) }

  static func table(_ lines: [LinkModel], channels: Int) -> String {
    var rows = [["RAM-like pages, \(channels) channels", "encode MB/s", "decode MB/s", "ratio"]]
    rows[0] += links.map { "\(fixed($0, 0)) Gbit/s" }
    for line in lines {
      rows.append(
        [line.name, figure(line.encode / 1e6), figure(line.decode / 1e6), figure(line.ratio)]
          + links.map { figure(line.rate(on: $0) * 8 / 1e9) })
    }
    return alignedTable(rows) + "\n(columns on the right: guest memory moved, in Gbit/s)"
  }
}

/// The function of that name in Text.swift, which a member of LinkModel hides.
private func alignedTable(_ rows: [[String]]) -> String { table(rows) }

/// Effective rates as a picture.
public enum LinkChart {
  /// Bars in groups, one group for each link: how much guest memory moves, in multiples of the
  /// link's own rate. Nil when `perf/links` has not been run.
  public static func svg(_ report: RunReport) -> String? {
    guard let result = report.results.first(where: { $0.test.id == "perf/links" }) else {
      return nil
    }
    var names: [String] = []
    var rates: [String: Double] = [:]
    for metric in result.metrics where metric.name.hasPrefix("links.") {
      rates[metric.name] = metric.value
      let name = String(metric.name.split(separator: ".")[1])
      if !names.contains(name) { names.append(name) }
    }
    guard !names.isEmpty else { return nil }
    var chart = BarChart(
      title: "Guest memory moved, in multiples of the link's rate", names: names)
    chart.reference = 1
    for link in LinkModel.links {
      chart.groups.append(
        (
          "\(fixed(link, 0)) Gbit/s",
          names.map { name in
            let rate = rates["links.\(name).\(fixed(link, 0))"] ?? 0
            return BarChart.Bar(rate / link, note: "\(name): \(figure(rate)) Gbit/s")
          }
        ))
    }
    return chart.svg
  }
}
