/// What a backend's speed means on a link: the slowest of encoding, the wire and decoding.
///
/// The three work at the same time, on packets of several channels. The wire carries payload, of which a byte
/// stands for `ratio` bytes of pages; what a host adds to a packet (56 bytes and 8 for each page) is left out.
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
  /// Bars in groups, one group for each link: how much guest memory moves, in multiples of the link's own rate.
  /// Nil when `perf/links` has not been run.
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
    let highest =
      LinkModel.links.flatMap { link in
        names.map { (rates["links.\($0).\(fixed(link, 0))"] ?? 0) / link }
      }.max() ?? 1
    return draw(names, rates, top: max(1.2, highest * 1.1))
  }

  private static let colours = ["#0b6e99", "#9aa5b1", "#d9822b", "#5c8f3a", "#8e5ea2", "#c0392b"]

  private static func draw(_ names: [String], _ rates: [String: Double], top: Double) -> String {
    let (width, height, left, bottom) = (760.0, 380.0, 56.0, 60.0)
    let plot = height - bottom - 50
    let group = (width - left - 20) / Double(LinkModel.links.count)
    let bar = group * 0.8 / Double(names.count)
    func y(_ value: Double) -> Double { 50 + plot * (1 - value / top) }
    var out = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" \
      font-family="sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="white"/>
      <text x="\(Int(left))" y="20" font-size="15">Guest memory moved, in multiples of the link's rate</text>

      """
    var mark = 0.0
    let step = top > 8 ? 2.0 : top > 3 ? 1.0 : 0.5
    while mark <= top {
      out += """
        <line x1="\(Int(left))" x2="\(Int(width - 20))" y1="\(fixed(y(mark), 1))" \
        y2="\(fixed(y(mark), 1))" stroke="\(mark == 1 ? "#444" : "#ddd")"/>
        <text x="\(Int(left - 8))" y="\(fixed(y(mark) + 4, 1))" text-anchor="end">\(fixed(mark, 1))</text>

        """
      mark += step
    }
    for (position, link) in LinkModel.links.enumerated() {
      let start = left + group * (Double(position) + 0.1)
      for (index, name) in names.enumerated() {
        let rate = rates["links.\(name).\(fixed(link, 0))"] ?? 0
        let at = y(rate / link)
        out += """
          <rect x="\(fixed(start + bar * Double(index), 1))" y="\(fixed(at, 1))" \
          width="\(fixed(bar * 0.9, 1))" height="\(fixed(50 + plot - at, 1))" \
          fill="\(colours[index % colours.count])"><title>\(escape(name)): \(figure(rate)) Gbit/s</title></rect>

          """
      }
      out += """
        <text x="\(fixed(start + group * 0.4, 1))" y="\(fixed(50 + plot + 18, 1))" \
        text-anchor="middle">\(fixed(link, 0)) Gbit/s</text>

        """
    }
    for (index, name) in names.enumerated() {
      let x = left + Double(index) * 110
      out += """
        <rect x="\(fixed(x, 1))" y="\(fixed(height - 24, 1))" width="12" height="12" \
        fill="\(colours[index % colours.count])"/>
        <text x="\(fixed(x + 17, 1))" y="\(fixed(height - 14, 1))">\(escape(name))</text>

        """
    }
    return out + "</svg>\n"
  }

  private static func escape(_ text: String) -> String { JUnitFormat.escape(text) }
}
