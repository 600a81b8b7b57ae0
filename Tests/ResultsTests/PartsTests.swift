import Chart
import Results
import Testing

/// The parts of the page.
@Suite("Parts")
struct PartsTests {
  /// The cells of a row of the section's tables that begins with these.
  private func row(_ section: Section, _ first: String...) -> [String]? {
    for case .table(let table) in section.items {
      if let row = table.rows.first(where: { Array($0.prefix(first.count)) == first }) {
        return row
      }
    }
    return nil
  }

  @Test(
    "a transfer is told by its ratios, CPU seconds by the GiB, a way that was not gone by a dash")
  func transfer() throws {
    var own = TransferResult.Row(compression: "zlib", backend: "zlib", channels: 2, memory: 256)
    own.contents = 1 << 29
    own.stock = Series([2, 4])
    own.stockSource = Series([3, 3])
    own.stockDestination = Series([1, 1])
    own.receive.add(wall: 1, processor: 0.5)
    own.receive.add(wall: 4, processor: 0.25)
    own.send.add(wall: 1, processor: 3)
    own.send.add(wall: 2, processor: 6)
    var other = own
    other.backend = "igzip"
    own.relays.add(wall: 3, processor: 1)
    own.relays.add(wall: 4, processor: 1)
    other.failure = "a wire was cut"
    let section = TransferResult([own, other]).section
    #expect(
      row(section, "zlib", "2") == [
        "zlib", "2", "256 MiB", "2", "3.00 (2.00–4.00)", "0.75 (0.50–1.00)", "0.38 (0.25–0.50)",
        "0.50 (0.50–0.50)", "1.50 (1.00–2.00)", "1.25 (1.00–1.50)",
      ])
    #expect(row(section, "zlib by igzip")?.last == "–")
    let text = section.markdown(pictures: ".")
    // Half a GiB: twice the seconds.
    #expect(text.contains("| zlib | 2 | 6.00 | 9.00 | 2.00 | 0.75 | 2.00 |"))
    #expect(text.contains("* zlib by igzip, 2 channels: a wire was cut"))
    let bars = try #require(section.pictures.first?.chart.groups)
    #expect(bars.map(\.name) == ["zlib ×2", "igzip ×2"])
    #expect(bars[0].bars.map { $0?.value } == [0.75, 0.5, 1.25])
    #expect(bars[1].bars[2] == nil)
  }

  @Test("a codec's times are the inverse of its speeds, beside the reference's of the same pages")
  func codec() {
    func row(_ content: String, _ name: String, _ speed: Double) -> CodecResult.Row {
      var row = CodecResult.Row(content: content, backend: name)
      row.ratio = Series([2.5])
      row.encode = Series([speed])
      row.decode = Series([speed * 2])
      row.encodeProcessor = Series([1])
      row.decodeProcessor = Series([2])
      return row
    }
    let rows = [
      row("text", "zlib", 100), row("text", "igzip", 400), row("ram", "zlib", 10),
      row("ram", "igzip", 20),
    ]
    let section = CodecResult(rows, reference: "zlib", corpus: nil).section
    #expect(
      self.row(section, "text", "zlib") == ["text", "zlib", "2.50×", "1", "1", "1.07", "2.15"])
    #expect(self.row(section, "text", "igzip")?[3] == "0.250")
    #expect(self.row(section, "ram", "igzip")?[3] == "0.500")
    #expect(section.markdown(pictures: ".").contains("--corpus"))
    let mine = CodecResult(rows, reference: "zlib", corpus: "pc.ram").section
    #expect(mine.markdown(pictures: ".").contains("*corpus* is pages of pc.ram."))
  }

  @Test("a checkpoint's pause stands beside the stock secondary's of the same round")
  func checkpoint() throws {
    var row = CheckpointResult.Row(channels: 4, load: 32)
    row.pause = Series([3, 2])
    row.stockPause = Series([60, 80])
    row.longest = Series([5, 6])
    row.stockLongest = Series([90, 95])
    var idle = CheckpointResult.Row(channels: 0, load: 0)
    idle.failure = "it did not come up"
    let section = CheckpointResult([row, idle], checkpoints: 8, delay: 100, memory: 256).section
    #expect(
      self.row(section, "4 channels, 32 MiB/s") == [
        "4 channels, 32 MiB/s", "2", "70.0 (60.0–80.0)", "2.5 (2.0–3.0)", "0.04 (0.03–0.05)",
        "92.5", "5.5", "–", "–",
      ])
    #expect(section.markdown(pictures: ".").contains("* plain, idle: it did not come up"))
    let bars = try #require(section.pictures.first?.chart.groups)
    #expect(bars[0].bars.map { $0?.whisker } == [6, 95])
    #expect(bars[1].bars.allSatisfy { $0 == nil })
  }

  @Test("a failover and its memory stand beside the stock secondary's")
  func failover() {
    var stock = FailoverResult.Row("stock secondary")
    stock.answer = Series([100, 200])
    stock.memory = Series([1000, 1000])
    stock.files = Series([0, 0])
    var ours = FailoverResult.Row("multifd")
    ours.answer = Series([150, 100])
    ours.memory = Series([500, 400])
    ours.files = Series([450, 390])
    let sections = FailoverResult([stock, ours], memory: 512, used: 288, heartbeat: 20).sections
    #expect(row(sections[0], "stock secondary")?.last == "1")
    #expect(row(sections[0], "multifd") == ["multifd", "2", "125 (100–150)", "1.00 (0.50–1.50)"])
    #expect(
      row(sections[1], "multifd") == ["multifd", "2", "450 (400–500)", "420", "0.45 (0.40–0.50)"])
  }
}
