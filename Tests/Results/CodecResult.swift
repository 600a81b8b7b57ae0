/// How fast backends are with nothing around them: one channel, packets in memory.
public struct CodecResult: Sendable {
  /// A backend and what pages hold, round by round.
  public struct Row: Sendable {
    /// What the pages hold.
    public var content: String
    /// The backend.
    public var backend: String
    /// Bytes of pages for a byte of payload.
    public var ratio = Series()
    /// MB of pages in a second.
    public var encode = Series()
    /// The same of decoding.
    public var decode = Series()
    /// CPU seconds for 10⁹ bytes of pages.
    public var encodeProcessor = Series()
    /// The same of decoding.
    public var decodeProcessor = Series()

    /// A row without rounds.
    public init(content: String, backend: String) {
      (self.content, self.backend) = (content, backend)
    }
  }

  /// Content by content; of each the backends in the same order.
  public var rows: [Row]
  /// What others are compared with.
  public var reference: String
  /// The pages of a corpus that the reader gave: what it is.
  public var corpus: String?

  /// A result.
  public init(_ rows: [Row], reference: String, corpus: String?) {
    (self.rows, self.reference, self.corpus) = (rows, reference, corpus)
  }

  private static let gib = Double(1 << 30) / 1e9

  /// Its part of the page.
  public var section: Section {
    var text = """
      Every backend on one channel with nothing around it: no QEMU, no socket, full packets of the same pages, encoded and \
      decoded in memory (`multifd-harness`, test `perf/throughput`). *sparse* is zeroes but for a few bytes, *text* words of small \
      letters, *ram* made up as a running system's memory is (pointers, small numbers, text, machine code, noise), \
      *random* incompressible. Times are ratios to \(reference)'s in the same round; "smaller" is bytes of pages for a byte \
      of payload.
      """
    if let corpus {
      text += " *corpus* is pages of \(corpus)."
    } else {
      text += " `--corpus FILE` (a raw image of memory) or `--corpus STORE` adds pages of your own."
    }
    return Section("Codecs", [.text(text), .table(table)])
  }

  var table: Table {
    var table = Table(
      [
        "pages", "backend", "smaller", "encode: time", "decode: time", "encode, CPU s/GiB",
        "decode, CPU s/GiB",
      ], words: 2)
    for row in rows {
      let beside = rows.first { $0.content == row.content && $0.backend == reference }
      // Times: the inverse of speeds.
      func time(_ speeds: KeyPath<Row, Series>) -> String {
        guard let beside, row.backend != reference else {
          return row.backend == reference ? "1" : "–"
        }
        return beside[keyPath: speeds].relative(to: row[keyPath: speeds]).text(3)
      }
      table.rows.append([
        row.content, row.backend, row.ratio.middle() + "×", time(\.encode), time(\.decode),
        row.encodeProcessor.scaled(by: Self.gib).text(),
        row.decodeProcessor.scaled(by: Self.gib).text(),
      ])
    }
    return table
  }
}
