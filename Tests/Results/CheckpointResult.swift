import Chart

/// What checkpoints cost a guest, by our standby and by a stock secondary.
public struct CheckpointResult: Sendable {
  /// A load and a number of channels, round by round. Times are milliseconds.
  public struct Row: Sendable {
    /// multifd channels; 0 is without multifd.
    public var channels: Int
    /// MiB/s that the guest rewrites.
    public var load: Int
    /// The median pause of each round, with our standby.
    public var pause = Series()
    /// The same with a stock secondary.
    public var stockPause = Series()
    /// The longest pause of each round, with our standby.
    public var longest = Series()
    /// The same with a stock secondary.
    public var stockLongest = Series()
    /// Our standby's median commit.
    public var commit = Series()
    /// Pages of a checkpoint.
    public var pages = Series()
    /// Why rounds are missing.
    public var failure: String?

    /// A row without rounds.
    public init(channels: Int, load: Int) { (self.channels, self.load) = (channels, load) }

    var title: String {
      (channels == 0 ? "plain" : "\(channels) channels") + ", "
        + (load == 0 ? "idle" : "\(load) MiB/s")
    }
  }

  /// In the page's order.
  public var rows: [Row]
  /// Checkpoints of a round, for each of the two.
  public var checkpoints: Int
  /// `x-checkpoint-delay` in ms.
  public var delay: Int
  /// MiB of the guest's memory.
  public var memory: Int

  /// A result.
  public init(_ rows: [Row], checkpoints: Int, delay: Int, memory: Int) {
    (self.rows, self.checkpoints) = (rows, checkpoints)
    (self.delay, self.memory) = (delay, memory)
  }

  /// Its part of the page.
  public var section: Section {
    var items: [Section.Item] = [.text(text), .table(table), .picture("checkpoint", chart)]
    let failures = rows.compactMap { row in row.failure.map { "* \(row.title): \($0)" } }
    if !failures.isEmpty {
      items.append(.text("Not all could be measured:\n\n" + failures.joined(separator: "\n")))
    }
    return Section("Checkpoints", items)
  }

  private var text: String {
    """
    A stock COLO primary with a guest of \(memory) MiB that rewrites text-like pages and does nothing else is protected by \
    `multifd receive --colo`, and in turns by a stock secondary: `multifd bench checkpoint`. A pause is how long the guest stood \
    still for a checkpoint, from STOP to RESUME on the primary's own clock; \(checkpoints) checkpoints a round, \(delay) ms apart. \
    The stock secondary as shipped delays its ACKs, which costs a checkpoint some 40 ms twice; `make bench-checkpoint` \
    measures without that, too.
    """
  }

  var table: Table {
    var table = Table([
      "channels, load", "rounds", "stock: median pause, ms", "multifd: median pause, ms", "ratio",
      "stock: longest, ms", "multifd: longest, ms", "multifd: commit, ms", "pages",
    ])
    for row in rows {
      table.rows.append([
        row.title, "\(row.pause.values.count)", row.stockPause.text(1), row.pause.text(1),
        row.pause.relative(to: row.stockPause).text(), row.stockLongest.middle(1),
        row.longest.middle(1), row.commit.middle(2), row.pages.middle(0),
      ])
    }
    return table
  }

  var chart: BarChart {
    var chart = BarChart(
      title: "Guest pause per checkpoint, ms: median, and line to the longest",
      names: ["multifd", "stock"])
    for row in rows {
      func bar(_ pause: Series, _ longest: Series) -> BarChart.Bar? {
        guard !pause.values.isEmpty else { return nil }
        return BarChart.Bar(pause.median, whisker: longest.high, note: "\(pause.text(1)) ms")
      }
      chart.groups.append(
        (row.title, [bar(row.pause, row.longest), bar(row.stockPause, row.stockLongest)]))
    }
    return chart
  }
}
