import COLO
import Foundation
import Memory
import Results
import TestSupport

/// What the stage of a checkpoint takes for a guest that has hardly changed, as its memory grows.
/// Nothing but the stage: no store, no socket, and no memory but that of the pages that changed.
enum StageScale {
  private static let gibibytes = [1, 16, 64, 256, 1024]
  private static let (pageSize, packet, packets) = (4096, 128, 8)
  private static let rounds = 21

  static func run() throws -> Section {
    var table = Table([
      "guest", "bitmap: scan of nothing, µs", "mirror: seal, µs", "mirror: redo, µs",
      "sparse: seal, µs", "sparse: redo and forget, µs",
    ])
    for size in gibibytes {
      note("stage: \(size) GiB")
      let guest = try RAMBlock(memfd: "guest", length: size << 30, pageSize: pageSize)
      let scan = scan(pages: guest.pageCount)
      let mirror = try checkpoints(
        COLOStage(guest: [guest], cache: .mirror(MirrorCache(memoryFor: [guest]))))
      let logs = try (0..<2).map { _ in
        StagingLog(
          pages: try RAMBlock(memfd: "pages", length: guest.length, pageSize: pageSize),
          journal: try RAMBlock(
            memfd: "journal", length: StagingLog.journalSize(pages: guest.pageCount),
            pageSize: pageSize))
      }
      let sparse = try checkpoints(COLOStage(guest: [guest], cache: .sparse(logs)))
      table.rows.append(
        ["\(size) GiB", scan.text(0)]
          + [mirror.seal, mirror.redo, sparse.seal, sparse.redo].map { $0.text(1) })
    }
    let text = """
      Processor time of a checkpoint of \(packets) packets of \(packet) pages, spread over the guest. *scan*: an empty `DirtyBitmap` of the guest's \
      pages is gone through. *seal*: what the stage does while the guest stands still, when its pages are there (with what the \
      cache takes, as a commit reports it). *redo*: behind the running guest.
      """
    return Section("The stage of a checkpoint", [.text(text), .table(table)])
  }

  private static func scan(pages: Int) -> Series {
    let bitmap = DirtyBitmap(count: pages)
    return Series((0..<rounds).map { _ in microseconds { bitmap.drain { _ in } } })
  }

  private static func checkpoints(_ stage: COLOStage) throws -> (seal: Series, redo: Series) {
    stage.enterCOLO()
    var (seal, redo) = (Series(), Series())
    let slots = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: packet)
    defer { slots.deallocate() }
    // The first ones make memory of what is touched.
    for round in 0..<rounds + 3 {
      for number in 0..<packets {
        let first = stage.guest[0].pageCount / packets * number
        let pages = (0..<packet).map { UInt64((first + $0) * pageSize) }
        // Valid within the closure, which is as long as the stage needs them.
        _ = try pages.withUnsafeBufferPointer {
          try stage.prepare(
            block: 0, normal: $0, zero: UnsafeBufferPointer(start: nil, count: 0), slots: slots)
        }
      }
      var sealed = COLOStage.Sealed(side: 0, entries: 0)
      let first = microseconds {
        _ = stage.cacheBytes
        sealed = stage.seal()
      }
      let second = try microseconds {
        try stage.redo(sealed)
        try stage.forget(sealed)
      }
      guard round >= 3 else { continue }
      seal.values.append(first)
      redo.values.append(second)
    }
    return (seal, redo)
  }
}

/// Processor time that something takes in this thread: on a busy machine what it would take on a
/// quiet one.
func microseconds(_ body: () throws -> Void) rethrows -> Double {
  let start = threadTime()
  try body()
  return Double(threadTime() - start) / 1000
}

/// Nanoseconds for which this thread has had a processor.
func threadTime() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}
