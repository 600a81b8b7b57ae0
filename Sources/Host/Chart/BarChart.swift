// Chart: pictures of what was measured. Knows nothing of what that was.

import Foundation

/// Bars in groups as an SVG picture: what a benchmark has measured.
public struct BarChart: Sendable {
  /// One bar.
  public struct Bar: Sendable {
    /// Its height.
    public var value: Double
    /// How far a thin line goes on above it, e.g. to the 99th percentile.
    public var whisker: Double?
    /// What a viewer says when it is pointed at.
    public var note: String

    /// A bar; nil for no measurement leaves its place empty.
    public init(_ value: Double, whisker: Double? = nil, note: String) {
      self.value = value
      self.whisker = whisker
      self.note = note
    }
  }

  /// Above the picture.
  public var title: String
  /// What the bars of each group are, in their order.
  public var names: [String]
  /// The groups, from left to right.
  public var groups: [(name: String, bars: [Bar?])] = []
  /// A height to compare with, drawn as a dark line.
  public var reference: Double?
  /// How many digits behind the point the axis has.
  public var digits = 1

  /// A chart without groups.
  public init(title: String, names: [String]) {
    self.title = title
    self.names = names
  }

  private static let colours = ["#0b6e99", "#9aa5b1", "#d9822b", "#5c8f3a", "#8e5ea2", "#c0392b"]
  private static let (width, height) = (760.0, 380.0)
  private static let (left, right, top, bottom) = (56.0, 20.0, 50.0, 60.0)

  /// The highest mark of the axis, and the distance between marks: 1, 2 or 5 times a power of ten.
  private var scale: (top: Double, step: Double) {
    let bars = groups.flatMap(\.bars).compactMap(\.self)
    let highest = max(bars.map { max($0.value, $0.whisker ?? 0) }.max() ?? 0, reference ?? 0)
    guard highest > 0, highest.isFinite else { return (1, 0.5) }
    var step = 1.0
    while step * 8 < highest { step *= 10 }
    while step > highest { step /= 10 }
    if step * 1.6 > highest { step /= 5 } else if step * 4 > highest { step /= 2 }
    return (highest * 1.1, step)
  }

  /// The picture.
  public var svg: String {
    let (top, step) = scale
    let plot = Self.height - Self.top - Self.bottom
    func y(_ value: Double) -> Double { Self.top + plot * (1 - value / top) }
    var out = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" \
      font-family="sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="white"/>
      <text x="\(Int(Self.left))" y="20" font-size="15">\(Self.escape(title))</text>

      """
    for mark in stride(from: 0, through: top, by: step) {
      out += line(at: y(mark), "#ddd")
      out += text(fixed(mark, digits), Self.left - 8, y(mark) + 4, anchor: "end")
    }
    if let reference { out += line(at: y(reference), "#444") }
    let group = (Self.width - Self.left - Self.right) / Double(max(1, groups.count))
    let bar = group * 0.8 / Double(max(1, names.count))
    for (position, entry) in groups.enumerated() {
      let start = Self.left + group * (Double(position) + 0.1)
      for (index, value) in entry.bars.enumerated() {
        guard let value else { continue }
        out += draw(value, at: start + bar * Double(index), width: bar * 0.9, y, index)
      }
      out += text(entry.name, start + group * 0.4, Self.top + plot + 18, anchor: "middle")
    }
    for (index, name) in names.enumerated() {
      let x = Self.left + Double(index) * 110
      out += """
        <rect x="\(fixed(x, 1))" y="\(fixed(Self.height - 24, 1))" width="12" height="12" \
        fill="\(colour(index))"/>

        """
      out += text(name, x + 17, Self.height - 14, anchor: "start")
    }
    return out + "</svg>\n"
  }

  private func draw(
    _ bar: Bar, at x: Double, width: Double, _ y: (Double) -> Double, _ index: Int
  ) -> String {
    var out = """
      <rect x="\(fixed(x, 1))" y="\(fixed(y(bar.value), 1))" width="\(fixed(width, 1))" \
      height="\(fixed(y(0) - y(bar.value), 1))" fill="\(colour(index))">\
      <title>\(Self.escape(bar.note))</title></rect>

      """
    if let whisker = bar.whisker {
      let middle = fixed(x + width / 2, 1)
      out += """
        <line x1="\(middle)" x2="\(middle)" y1="\(fixed(y(bar.value), 1))" \
        y2="\(fixed(y(whisker), 1))" stroke="#444"/>

        """
    }
    return out
  }

  private func line(at y: Double, _ stroke: String) -> String {
    """
    <line x1="\(Int(Self.left))" x2="\(Int(Self.width - Self.right))" y1="\(fixed(y, 1))" \
    y2="\(fixed(y, 1))" stroke="\(stroke)"/>

    """
  }

  private func text(_ text: String, _ x: Double, _ y: Double, anchor: String) -> String {
    """
    <text x="\(fixed(x, 1))" y="\(fixed(y, 1))" text-anchor="\(anchor)">\(Self.escape(text))</text>

    """
  }

  private func colour(_ index: Int) -> String { Self.colours[index % Self.colours.count] }

  private static func escape(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
  }
}

/// A number with so many digits behind the point.
private func fixed(_ value: Double, _ digits: Int) -> String {
  String(format: "%.\(digits)f", value)
}
