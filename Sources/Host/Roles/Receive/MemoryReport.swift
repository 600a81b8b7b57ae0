import Memory

/// What the memory of a guest that came in lies on, and what it took to get it.
public struct MemoryReport: Codable, Sendable {
  /// Bytes that were made memory.
  public var bytes: UInt64
  /// Bytes of a page, where the kernel had one of that size.
  public var pageSize: Int
  /// `tmpfs`, `hugetlbfs`, `other`.
  public var fileSystem: FilePages.FileSystem
  /// Milliseconds that threads have spent with getting it, all of them together.
  public var time: Double

  enum CodingKeys: String, CodingKey {
    case bytes, time
    case pageSize = "page-size"
    case fileSystem = "file-system"
  }

  /// Of a guest's blocks; nil if it has none.
  init?(_ blocks: [RAMBlock]) {
    // What the greatest has: in a small one no huge page fits.
    guard let pages = blocks.max(by: { $0.length < $1.length })?.pages else { return nil }
    bytes = blocks.reduce(0) { $0 + UInt64($1.reservedBytes) }
    time = blocks.reduce(0) { $0 + $1.reservingTime } * 1000
    (pageSize, fileSystem) = (pages.size, pages.fileSystem)
  }

  /// What would be quicker, where it would be worth it: half a second and more is gone on pages of
  /// a tmpfs that could be huge.
  public var hint: String? {
    guard fileSystem == .tmpfs, pageSize <= FilePages.base, time >= Self.worthwhile else {
      return nil
    }
    let seconds = (time / 100).rounded() / 10
    return "\(seconds) s of processor time went into getting memory in pages of "
      + "\(pageSize >> 10) KiB; with huge pages it is a tenth: multifd store mount"
  }

  /// Milliseconds.
  private static let worthwhile = 500.0
}

extension FilePages.FileSystem: Codable {}
