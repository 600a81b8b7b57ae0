import COLO
import Memory
import Store

/// The files in which a standby's store keeps its cache: made for a standby, opened again by
/// whoever finishes what it left.
struct CacheFiles {
  private let store: Store
  private let guest: [RAMBlock]
  private let pageSize: Int

  /// For these RAM blocks.
  init(_ store: Store, _ guest: [RAMBlock], pageSize: Int) throws {
    self.store = store
    self.guest = guest
    self.pageSize = pageSize
  }

  /// Makes them, empty.
  func make(_ kind: Manifest.Cache?) throws -> COLOStage.Cache {
    try cache(kind) { try store.makeCacheFile($0, length: $1, pageSize: $2) }
  }

  /// Opens them as they are.
  func open(_ kind: Manifest.Cache?) throws -> COLOStage.Cache {
    try cache(kind) { try store.openCacheFile($0, length: $1, pageSize: $2) }
  }

  private func cache(
    _ kind: Manifest.Cache?, _ file: (String, Int, Int) throws -> RAMBlock
  ) throws -> COLOStage.Cache {
    let sides = ["a", "b"]
    switch kind {
    case nil: return .none
    case .sparse:
      // A checkpoint sends a page at most once, or twice where it syncs in between. The files are
      // holes until then.
      let pages = guest.reduce(0) { $0 + $1.pageCount } * 2
      return .sparse(
        try sides.map { side in
          StagingLog(
            pages: try file("pages-\(side)", pages * pageSize, pageSize),
            journal: try file("journal-\(side)", StagingLog.journalSize(pages: pages), 4096))
        })
    case .mirror:
      return .mirror(
        try MirrorCache(
          blocks: try guest.enumerated().map { try file("block-\($0)", $1.length, pageSize) },
          bitmaps: try sides.map {
            try file("bitmap-\($0)", MirrorCache.bitmapSize(guest), 4096)
          }))
    }
  }
}
