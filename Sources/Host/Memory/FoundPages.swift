import CLinux
import Glibc

/// What pages the memory of files is in: found out at some places of them.
public struct FoundPages: Equatable, Sendable {
  /// Places that were looked at: where a huge page would fit and there is memory.
  public private(set) var places = 0
  /// How many of them are huge pages.
  public private(set) var huge = 0
  /// What keeps the files; nil: nothing has been looked at.
  public private(set) var fileSystem: FilePages.FileSystem?
  /// Bytes of the pages that were found most.
  public var pageSize: Int { huge * 2 > places ? hugeSize : FilePages.base }
  private var hugeSize = FilePages.base

  /// Nothing yet.
  public init() {}

  /// How many places of one file are looked at.
  private static let most = 16

  /// Looks at some places of a file, evenly spread. Nothing becomes memory that is none.
  public mutating func look(at descriptor: Int32, length: Int) {
    let layout = FilePages.layout(of: descriptor)
    let window = layout.alignment
    guard window > FilePages.base, length >= window else { return }
    fileSystem = layout.fileSystem
    hugeSize = window
    let count = length / window
    var next = 0
    for index in 0..<min(count, Self.most) {
      let first = max(next, count * index / min(count, Self.most) * window)
      let data = Int(clinux_seek_data(descriptor, Int64(first)))
      guard data >= 0, data < count * window else { return }
      let start = data / window * window
      next = start + window
      guard let isHuge = Self.isHuge(descriptor, start, window, at: max(data, start)) else {
        return
      }
      places += 1
      huge += isHuge ? 1 : 0
    }
  }

  /// Whether the page at an offset that has data is part of a huge page from `start` on.
  private static func isHuge(
    _ descriptor: Int32, _ start: Int, _ window: Int, at data: Int
  ) -> Bool? {
    let mapping = try? Mapping(descriptor, from: start, length: window, protection: PROT_READ)
    guard let mapping else { return nil }
    // One page, which has data: nothing becomes memory by that, and there is no signal where the
    // file has become shorter meanwhile.
    let page = mapping.base + (data - start) / FilePages.base * FilePages.base
    guard madvise(page, FilePages.base, Int32(MADV_POPULATE_READ)) == 0 else { return nil }
    return mapping.told.map { $0.mapped > 0 }
  }
}
