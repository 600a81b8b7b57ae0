import Chart

/// A part of the page.
public struct Section: Sendable {
  /// What one is made of.
  public enum Item: Sendable {
    /// A paragraph, or several.
    case text(String)
    /// A table.
    case table(Table)
    /// A picture, in a file of that name beside the page.
    case picture(String, BarChart)
  }

  /// Its heading.
  public var title: String
  /// What it says, in order.
  public var items: [Item]

  /// A section.
  public init(_ title: String, _ items: [Item]) {
    self.title = title
    self.items = items
  }

  /// A part that could not be measured: why.
  public init(_ title: String, failure: String) {
    self.init(title, [.text("Not measured: \(failure)")])
  }

  /// Markdown.
  ///
  /// - Parameter pictures: where the pictures lie, seen from the page.
  public func markdown(pictures: String) -> String {
    let bodies = items.map { item in
      switch item {
      case .text(let text): text
      case .table(let table): table.markdown
      case .picture(let name, let chart): "![\(chart.title)](\(pictures)/\(name).svg)"
      }
    }
    return (["## \(title)"] + bodies).joined(separator: "\n\n")
  }

  /// The pictures, by their names.
  public var pictures: [(name: String, chart: BarChart)] {
    items.compactMap { item in
      if case .picture(let name, let chart) = item { (name, chart) } else { nil }
    }
  }
}
