import PluginAPI
import System

/// What `multifd-probe` tells of one library: how far it came, and what the table says. The other
/// side is the program's `probe.h`.
///
/// Foreign code runs in the process that it comes from, and may write into it. So nothing here
/// follows from it but what is told about that library; where a library is opened, its table is
/// read once more.
struct ProbeAccount {
  /// How far it came: what it was doing after it had said so.
  enum Stage: Comparable {
    case silent
    case opening
    case entering
    case reading
    case done

    var text: String {
      switch self {
      case .silent: "before it was opened"
      case .opening: "while it was opened"
      case .entering: "inside multifd_plugin_entry()"
      case .reading: "while its table was read"
      case .done: "after it was opened"
      }
    }
  }

  /// How far it came.
  private(set) var stage = Stage.silent
  /// Why it went no further, in its own words.
  private(set) var trouble: String?
  /// The table; nil where the entry point gave none, or it did not come that far.
  private(set) var table: TableCopy?
  /// What it does to the process that opens it, and must not: a sentence without a full stop.
  private(set) var breach: String?
  /// Whether what it has started lived on when that process had ended, until it was ended, too.
  private(set) var leavesProcesses = false
  /// How the process ended in which it was opened; nil where nobody has told.
  private(set) var end: WaitStatus?
  /// Whether there is something in it that the program does not say.
  private(set) var isSpoilt = false

  /// More than the longest table makes.
  static let longest = 8 << 20

  /// The kinds of items, as in the program.
  private enum Kind: UInt8 {
    case alive = 1
    case opened, entered, done, trouble, table, option, text, absent, bounds, breach, left, ended
  }

  /// What was read from the program, from its start.
  init(_ account: [UInt8]) {
    var rest = account[...]
    while let item = Self.nextItem(&rest) {
      guard let kind = Kind(rawValue: item.kind), add(kind, Array(item.bytes)) else {
        isSpoilt = true
        return
      }
    }
    // The last one comes when nobody else can write any more.
    if end != nil, !rest.isEmpty { isSpoilt = true }
  }

  private static func nextItem(
    _ rest: inout ArraySlice<UInt8>
  ) -> (kind: UInt8, bytes: ArraySlice<UInt8>)? {
    guard let kind = rest.first, rest.count >= 5 else { return nil }
    let length = Int(Array(rest.dropFirst().prefix(4)).load(0, as: UInt32.self))
    guard rest.count - 5 >= length else { return nil }
    let bytes = rest.dropFirst(5).prefix(length)
    rest = rest.dropFirst(5 + length)
    return (kind, bytes)
  }

  /// False where the program would not say that.
  private mutating func add(_ kind: Kind, _ bytes: [UInt8]) -> Bool {
    switch kind {
    case .alive: stage = max(stage, .opening)
    case .opened: stage = max(stage, .entering)
    case .entered: stage = max(stage, .reading)
    case .done: stage = .done
    case .trouble: trouble = String(decoding: bytes, as: UTF8.self)
    case .breach: breach = String(decoding: bytes, as: UTF8.self)
    case .left: leavesProcesses = true
    case .ended:
      guard end == nil, bytes.count == MemoryLayout<Int32>.size else { return false }
      end = WaitStatus(bytes.load(0, as: Int32.self))
    case .table:
      guard table == nil, bytes.count >= TableCopy.headSize else { return false }
      let size = TableCopy.isOurs(bytes) ? MemoryLayout<MultiFDMethods>.size : TableCopy.headSize
      guard bytes.count == size else { return false }
      table = TableCopy(bytes: bytes)
    case .option:
      guard table != nil, bytes.count == MemoryLayout<MultiFDOption>.size else { return false }
      table?.options.append(TableCopy.Entry(bytes: bytes))
    case .text, .absent:
      guard table != nil else { return false }
      let text = kind == .text ? bytes : nil
      if let last = table?.options.indices.last {
        table?.options[last].texts.append(text)
      } else {
        table?.texts.append(text)
      }
    case .bounds:
      let size = MemoryLayout<UInt64>.size
      guard table != nil, bytes.count == size * TableCopy.boundCounts.count else { return false }
      table?.bounds = TableCopy.boundCounts.indices.map { bytes.load($0 * size, as: UInt64.self) }
    }
    return true
  }
}
