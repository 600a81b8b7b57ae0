/// Where and when something was measured.
public struct Machine: Sendable {
  /// The processor's own name.
  public var processor: String
  /// How many of them.
  public var cores: Int
  /// A hypervisor is underneath.
  public var isVirtual: Bool
  /// Bytes of memory.
  public var memory: Int
  /// `uname -r`.
  public var kernel: String
  /// Transparent huge pages: what is chosen in `enabled` and in `shmem_enabled`.
  public var hugePages: (anonymous: String, shared: String)
  /// The file system of the stores: its type and options.
  public var store: String
  /// QEMUs that took part, and by what they run their guests.
  public var qemus: [String]
  /// The source's commit; with a word where files differ from it.
  public var commit: String
  /// When: UTC.
  public var date: String
  /// The load average of the minute before.
  public var load: Double
  /// What part of the processors' time others had, from 0 to 1, in a moment of rest before each
  /// part.
  public var others: [(part: String, share: Double)] = []

  /// A machine.
  public init(
    processor: String, cores: Int, isVirtual: Bool, memory: Int, kernel: String,
    hugePages: (anonymous: String, shared: String), store: String, qemus: [String], commit: String,
    date: String, load: Double
  ) {
    (self.processor, self.cores, self.isVirtual) = (processor, cores, isVirtual)
    (self.memory, self.kernel, self.hugePages) = (memory, kernel, hugePages)
    (self.store, self.qemus, self.commit) = (store, qemus, commit)
    (self.date, self.load) = (date, load)
  }

  /// From which share of the processors on a machine counts as busy.
  static let busyShare = 0.1

  /// What the page says before all figures where other things ran.
  var warning: String? {
    let busy = others.filter { $0.share > Self.busyShare }
    guard !busy.isEmpty else { return nil }
    let list = busy.map { "\($0.part) \(percent($0.share))" }.joined(separator: ", ")
    return "**The machine was busy**: before some parts others had this share of its processors: "
      + "\(list). Times spread more than they would on a quiet one; ratios and CPU seconds suffer "
      + "less."
  }

  var table: Table {
    var table = Table(["machine", ""], words: 2)
    let mebibytes = memory >> 20
    table.rows = [
      ["processor", processor + (isVirtual ? ", virtual" : "")],
      ["cores", "\(cores)"],
      ["memory", "\(fixed(Double(mebibytes) / 1024, 1)) GiB"],
      ["kernel", kernel],
      ["transparent huge pages", "`\(hugePages.anonymous)`, shared memory `\(hugePages.shared)`"],
      ["stores on", "`\(store)`"],
      ["QEMU", qemus.joined(separator: "; ")],
      ["commit", commit],
      ["date", date],
      [
        "load",
        "\(fixed(load, 2)) at the start; others' share before each part: "
          + others.map { "\($0.part) \(percent($0.share))" }.joined(separator: ", "),
      ],
    ]
    return table
  }

  // MARK: What the kernel says

  /// The chosen one of `always [madvise] never`; the whole text where none is.
  public static func choice(_ text: String) -> String {
    let trimmed = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
    guard let open = trimmed.firstIndex(of: "["), let close = trimmed[open...].firstIndex(of: "]")
    else { return trimmed.isEmpty ? "unknown" : trimmed }
    return String(trimmed[trimmed.index(after: open)..<close])
  }

  /// The first value of a key in `/proc/cpuinfo` or `/proc/meminfo`.
  public static func value(_ key: String, in text: String) -> String? {
    for line in text.split(whereSeparator: \.isNewline) {
      let sides = line.split(separator: ":", maxSplits: 1)
      guard sides.count == 2, words(sides[0]) == key else { continue }
      return words(sides[1])
    }
    return nil
  }

  /// `tmpfs rw,size=24g` of the file system that a path lies on, from `/proc/self/mounts`; of two
  /// at one place the later one, which covers the other.
  public static func fileSystem(of path: String, in mounts: String) -> String? {
    var best: (length: Int, text: String)?
    for line in mounts.split(whereSeparator: \.isNewline) {
      let words = line.split(separator: " ").map(String.init)
      guard words.count >= 4 else { continue }
      let place = words[1]
      let isAbove = place == "/" || path == place || path.hasPrefix(place + "/")
      guard isAbove, place.count >= best?.length ?? 0 else { continue }
      best = (place.count, "\(words[2]) \(words[3])")
    }
    return best?.text
  }

  /// Of all processors together, in clock ticks: how long they worked, and all time; from the first
  /// line of `/proc/stat`. Time that a hypervisor gave to others is work of others.
  public static func ticks(_ stat: String) -> (busy: Int, all: Int)? {
    let first = stat.split(whereSeparator: \.isNewline).first.map { $0.split(separator: " ") } ?? []
    guard first.first == "cpu" else { return nil }
    let numbers = first.dropFirst().prefix(8).compactMap { Int($0) }
    guard numbers.count == 8 else { return nil }
    let all = numbers.reduce(0, +)
    // user nice system idle iowait irq softirq steal
    return (all - numbers[3] - numbers[4], all)
  }

  private static func words(_ text: Substring) -> String {
    text.split { $0 == " " || $0 == "\t" }.joined(separator: " ")
  }
}

/// `12 %`.
func percent(_ share: Double) -> String { "\(fixed(share * 100, 0)) %" }
