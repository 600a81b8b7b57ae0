import Chart

/// A primary that was killed, and what its standby took until then.
public struct FailoverResult: Sendable {
  /// A kind of standby, round by round.
  public struct Row: Sendable {
    /// What stands by.
    public var title: String
    /// Milliseconds from the primary's SIGKILL until the guest has said something at the standby.
    public var answer = Series()
    /// MiB: the most memory that the standby took in the guest's last checkpoints.
    public var memory = Series()
    /// Of that the part that is files of a tmpfs.
    public var files = Series()
    /// Why rounds are missing.
    public var failure: String?

    /// A row without rounds.
    public init(_ title: String) { self.title = title }
  }

  /// The stock secondary first.
  public var rows: [Row]
  /// MiB of the guest's memory.
  public var memory: Int
  /// MiB of it that the guest has written.
  public var used: Int
  /// Milliseconds between two lines of the guest.
  public var heartbeat: Int

  /// A result.
  public init(_ rows: [Row], memory: Int, used: Int, heartbeat: Int) {
    (self.rows, self.memory, self.used, self.heartbeat) = (rows, memory, used, heartbeat)
  }

  /// Its parts of the page.
  public var sections: [Section] { [failover, standbyMemory] }

  private var failures: [Section.Item] {
    let lines = rows.compactMap { row in row.failure.map { "* \(row.title): \($0)" } }
    return lines.isEmpty ? [] : [.text("Rounds are missing:\n\n" + lines.joined(separator: "\n"))]
  }

  private var failover: Section {
    var table = Table(["standby", "rounds", "ms from kill -9 to the guest's answer", "ratio"])
    var chart = BarChart(
      title:
        "From kill -9 of the primary to the guest's answer, ms: median, and line to the greatest",
      names: ["ms"])
    chart.digits = 0
    for row in rows {
      table.rows.append([
        row.title, "\(row.answer.values.count)", row.answer.text(0), ratio(row, \.answer),
      ])
      let bar = BarChart.Bar(
        row.answer.median, whisker: row.answer.high, note: "\(row.answer.text(0)) ms")
      chart.groups.append((row.title, [row.answer.values.isEmpty ? nil : bar]))
    }
    let text = """
      A guest of \(memory) MiB under load is protected; then its primary gets SIGKILL. The time runs until the guest has written a \
      line on its serial port at the standby, which it does every \(heartbeat) ms. A stock secondary has no way to see that its \
      primary is gone: it is told in the very moment of the kill (`x-colo-lost-heartbeat`), so its time is without any \
      detection; whoever runs one adds the time-out of what watches it. `multifd` sees it by itself, asks nobody \
      (`--no-fence`), and starts a QEMU on the RAM that it has, or has one waiting (`--spare`).
      """
    return Section(
      "Failover", [.text(text), .table(table), .picture("failover", chart)] + failures)
  }

  private var standbyMemory: Section {
    var table = Table(["standby", "rounds", "MiB", "of it tmpfs files", "ratio"])
    for row in rows {
      table.rows.append([
        row.title, "\(row.memory.values.count)", row.memory.text(0), row.files.middle(0),
        ratio(row, \.memory),
      ])
    }
    let text = """
      What the standbys of the part before took: the anonymous memory of their processes and the blocks of the store's \
      files, which are the guest's RAM and the cache of checkpoints; the most that was seen before the kill. The guest has \(memory) MiB, of which it has written \(used).
      """
    return Section("Memory of a standby", [.text(text), .table(table)])
  }

  private func ratio(_ row: Row, _ values: KeyPath<Row, Series>) -> String {
    guard let stock = rows.first, row.title != stock.title else { return "1" }
    return row[keyPath: values].relative(to: stock[keyPath: values]).text()
  }
}
