/// A table of a page: rows of cells below a head.
public struct Table: Equatable, Sendable {
  /// What the columns are.
  public var head: [String]
  /// Cells, as many in each row as the head has.
  public var rows: [[String]] = []
  /// How many columns, from the left, are words; the others are figures and stand to the right.
  public var words = 1

  /// A table without rows.
  public init(_ head: [String], words: Int = 1) {
    self.head = head
    self.words = words
  }

  /// Markdown.
  public var markdown: String {
    let rules = head.indices.map { $0 < words ? "---" : "---:" }
    return ([head, rules] + rows).map { cells in
      "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
    }.joined(separator: "\n")
  }
}
