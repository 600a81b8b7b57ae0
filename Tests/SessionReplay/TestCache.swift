import COLO
import Memory

/// The two ways in which a stage keeps checkpoints, in memory files.
public enum TestCache: CaseIterable, Sendable {
  /// A second copy of RAM with bitmaps.
  case mirror
  /// Logs of pages.
  case sparse

  /// An empty cache for a guest.
  public func make(for guest: [RAMBlock]) throws -> COLOStage.Cache {
    switch self {
    case .mirror: return .mirror(try MirrorCache(memoryFor: guest))
    case .sparse:
      let pages = guest.reduce(0) { $0 + $1.pageCount }
      let size = guest[0].pageSize
      return .sparse(
        try ["a", "b"].map { side in
          StagingLog(
            pages: try RAMBlock(memfd: "pages-\(side)", length: pages * size, pageSize: size),
            journal: try RAMBlock(
              memfd: "journal-\(side)", length: StagingLog.journalSize(pages: 2 * pages),
              pageSize: 4096))
        })
    }
  }
}
