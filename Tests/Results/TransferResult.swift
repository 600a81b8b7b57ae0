import Chart

/// Guests that were moved: between two stock QEMUs, from one into a store, from a store into one,
/// and through relays.
public struct TransferResult: Sendable {
  /// One kind of passage, round by round.
  public struct Way: Sendable {
    /// Seconds from the order until it was known that the guest has moved.
    public var wall = Series()
    /// CPU seconds of `multifd`: of all its processes.
    public var processor = Series()

    /// Nothing yet.
    public init() {}

    /// Adds a round.
    public mutating func add(wall: Double, processor: Double) {
      self.wall.values.append(wall)
      self.processor.values.append(processor)
    }
  }

  /// A guest, a compression and a number of channels.
  public struct Row: Sendable {
    /// QEMU's `multifd-compression`.
    public var compression: String
    /// The backend that `multifd` does it by.
    public var backend: String
    /// multifd channels.
    public var channels: Int
    /// MiB of the guest's memory.
    public var memory: Int
    /// The store is on what systems have for a tmpfs, where that is not huge pages.
    public var isOnSmallPages: Bool
    /// Every connection is TLS's.
    public var isTLS: Bool
    /// Bytes of pages with contents.
    public var contents = 0
    /// Stock to stock: seconds.
    public var stock = Series()
    /// CPU seconds of the stock source.
    public var stockSource = Series()
    /// CPU seconds of the stock destination.
    public var stockDestination = Series()
    /// Stock to `multifd receive`.
    public var receive = Way()
    /// `multifd send` to stock.
    public var send = Way()
    /// Stock to stock without compression, through two relays with it on the link between them.
    public var relays = Way()
    /// Why rounds are missing.
    public var failure: String?

    /// A row without rounds.
    public init(
      compression: String, backend: String, channels: Int, memory: Int,
      isOnSmallPages: Bool = false, isTLS: Bool = false
    ) {
      (self.compression, self.backend) = (compression, backend)
      (self.channels, self.memory) = (channels, memory)
      (self.isOnSmallPages, self.isTLS) = (isOnSmallPages, isTLS)
    }

    /// `zlib by igzip`, where the backend is not the compression's own.
    var title: String {
      (["nocomp", compression].contains(backend)
        ? compression : "\(compression) by \(backend)")
        + (isTLS ? ", TLS" : "") + (isOnSmallPages ? ", store on small pages" : "")
    }

    /// CPU seconds for a GiB of pages with contents.
    func perGiB(_ processor: Series) -> Series {
      contents == 0 ? Series() : processor.scaled(by: Double(1 << 30) / Double(contents))
    }
  }

  /// In the page's order.
  public var rows: [Row]

  /// A result.
  public init(_ rows: [Row]) { self.rows = rows }

  /// Its part of the page.
  public var section: Section {
    var items: [Section.Item] = [.text(Self.text), .table(ratios)]
    let failures = rows.compactMap { row in
      row.failure.map { "* \(row.title), \(row.channels) channels: \($0)" }
    }
    if !failures.isEmpty {
      items.append(.text("Rounds are missing:\n\n" + failures.joined(separator: "\n")))
    }
    items += [
      .text("CPU seconds for a GiB of pages with contents, medians:"), .table(processors),
      .picture("transfer", chart),
    ]
    return Section("Transfer", items)
  }

  private static let text = """
    A stopped guest full of text-like pages goes from a stock QEMU to another (*stock*), from a stock QEMU into a store \
    (`multifd receive`), from that store into a stock QEMU (`multifd send`), and from stock to stock through two \
    `multifd relay`s, which do the compressing on the link between them, while both QEMUs have none; where it says so, all of them by TLS. \
    All over loopback, with return-path, the same source again in each round, of which a guest's first does not count. \
    Time and CPU are ratios: to the time of stock to stock; to the CPU of the QEMU in whose place `multifd` stands. Stores are \
    on a tmpfs with huge pages (`multifd store mount`), where it does not say otherwise; a stock destination has them, too. \
    `send` decodes what it sends, as it does by default: a sample of what \
    certified backends make, all of the others'. All processes share this machine's processors, so the relays, which come on top, \
    have less than they would on machines of their own; `make bench-relay` has them on links that are slower than loopback.
    """

  var ratios: Table {
    var table = Table(
      [
        "compression", "channels", "guest", "rounds", "stock, s", "receive: time", "receive: CPU",
        "send: time", "send: CPU", "two relays: time",
      ])
    for row in rows {
      table.rows.append([
        row.title, "\(row.channels)", "\(row.memory) MiB", "\(row.stock.values.count)",
        row.stock.text(), row.receive.wall.relative(to: row.stock).text(),
        row.receive.processor.relative(to: row.stockDestination).text(),
        row.send.wall.relative(to: row.stock).text(),
        row.send.processor.relative(to: row.stockSource).text(),
        row.relays.wall.relative(to: row.stock).text(),
      ])
    }
    return table
  }

  var processors: Table {
    var table = Table([
      "compression", "channels", "stock source", "`send`", "stock destination", "`receive`",
      "two relays",
    ])
    for row in rows {
      let all = [
        row.stockSource, row.send.processor, row.stockDestination, row.receive.processor,
        row.relays.processor,
      ]
      table.rows.append([row.title, "\(row.channels)"] + all.map { row.perGiB($0).middle() })
    }
    return table
  }

  var chart: BarChart {
    var chart = BarChart(
      title: "Time in terms of stock to stock: median, and line to the greatest (lower is faster)",
      names: ["receive", "send", "two relays"])
    chart.reference = 1
    for row in rows {
      let bars = [row.receive, row.send, row.relays].map { way -> BarChart.Bar? in
        let ratio = way.wall.relative(to: row.stock)
        guard !ratio.values.isEmpty else { return nil }
        return BarChart.Bar(ratio.median, whisker: ratio.high, note: ratio.text())
      }
      let name = row.backend == "nocomp" ? row.compression : row.backend
      chart.groups.append(("\(name)\(row.isTLS ? ", TLS" : "") ×\(row.channels)", bars))
    }
    return chart
  }
}
