import Chart
import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

@Suite("Bar charts")
struct BarChartTests {
  /// The elements of a picture, by name, in their order.
  private final class Elements: NSObject, XMLParserDelegate {
    var all: [(name: String, attributes: [String: String])] = []

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
      qualifiedName: String?, attributes: [String: String]
    ) { all.append((name, attributes)) }
  }

  private func elements(_ svg: String) throws -> [(name: String, attributes: [String: String])] {
    let parser = XMLParser(data: Data(svg.utf8))
    let elements = Elements()
    parser.delegate = elements
    try #require(parser.parse(), "\(String(describing: parser.parserError)): \(svg)")
    return elements.all
  }

  private func bars(_ svg: String) throws -> [(top: Double, height: Double)] {
    // The background and the legend's squares have no note; a bar's title follows it.
    let all = try elements(svg)
    return all.indices.dropLast().compactMap { index in
      guard all[index].name == "rect", all[index + 1].name == "title",
        let y = all[index].attributes["y"].flatMap(Double.init),
        let height = all[index].attributes["height"].flatMap(Double.init)
      else { return nil }
      return (y, height)
    }
  }

  @Test("Heights are in proportion, and whatever stands in a text is no markup")
  func proportion() throws {
    var chart = BarChart(title: "a < b & \"c\"", names: ["<one>", "two"])
    chart.groups = [
      ("first & only", [.init(10, whisker: 30, note: "10 > 9"), .init(20, note: "x")]),
      ("second", [nil, .init(5, note: "y")]),
    ]
    let heights = try bars(chart.svg).map(\.height)
    try #require(heights.count == 3)
    #expect(abs(heights[1] / heights[0] - 2) < 0.01 && abs(heights[2] / heights[0] - 0.5) < 0.01)
  }

  @Test(
    "Everything is inside the picture, and the axis has marks",
    arguments: [0, 0.003, 0.7, 1, 2.4, 9, 88, 12_345.6, .nan, .infinity])
  func inside(value: Double) throws {
    var chart = BarChart(title: "t", names: ["n"])
    chart.groups = [("g", [.init(value.isFinite ? value : 1, whisker: value, note: "n")])]
    if !value.isFinite { chart.groups[0].bars[0]?.whisker = nil }
    chart.reference = 0
    let svg = chart.svg
    for bar in try bars(svg) {
      #expect(bar.top >= 0 && bar.height >= 0 && bar.top + bar.height <= 380, "\(svg)")
    }
    let marks = try elements(svg).count { $0.name == "line" }
    #expect((3...14).contains(marks), "\(marks)")
  }

  @Test("A chart of nothing is a picture")
  func empty() throws {
    #expect(try elements(BarChart(title: "", names: []).svg).first?.name == "svg")
  }
}
