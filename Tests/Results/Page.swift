import Chart

/// A page of results for somebody who knows nothing of them: what was measured and how to repeat
/// it, how figures are to be read, the machine, and a section for each part.
public struct Page: Sendable {
  /// Where it was.
  public var machine: Machine
  /// The command that makes this page again.
  public var command: String
  /// How long it took, in seconds.
  public var seconds: Double
  /// The parts, in order.
  public var sections: [Section]

  /// A page.
  public init(machine: Machine, command: String, seconds: Double, sections: [Section]) {
    (self.machine, self.command, self.seconds, self.sections) =
      (machine, command, seconds, sections)
  }

  /// The pictures of all sections, as SVG, by their names.
  public var pictures: [(name: String, svg: String)] {
    sections.flatMap(\.pictures).map { ($0.name, $0.chart.svg) }
  }

  private static let reading = """
    How to read it. Nothing here is a speed by itself: each figure of `multifd` stands beside a stock QEMU that did the \
    same in the same round of the same run, one after the other. A **ratio** is what `multifd` took, in terms of what \
    stock QEMU took in its place: 0.50 is half as much, 1.00 the same, 2.00 twice as much. `0.53 (0.51–0.60)` is the \
    median of the rounds' ratios, and the least and the greatest of them: where two such ranges overlap, nothing is said \
    about which is better. CPU seconds are user and system time of the whole process, for a GiB of pages with contents. \
    Ratios can be carried to another machine with some care; seconds cannot.
    """

  /// Markdown.
  ///
  /// - Parameter pictures: where the pictures lie, seen from the page.
  public func markdown(pictures: String) -> String {
    var parts = [
      "# Results",
      "What `multifd` costs next to stock QEMU. This page was written by `\(command)`, which does "
        + "all of it again (it took \(fixed(seconds / 60, 1)) minutes here) and writes it anew.",
    ]
    if let warning = machine.warning { parts.append(warning) }
    parts += [Self.reading, machine.table.markdown]
    parts += sections.map { $0.markdown(pictures: pictures) }
    return parts.joined(separator: "\n\n") + "\n"
  }
}
