import Memory
import Synchronization
import System
import Transport

/// A held guest's pages, dealt out to the channels in pieces, and the zero pages that they find.
///
/// Holes of the files are zero without being looked at. Everything else is looked at by the thread
/// that would send it, so the search for zero pages scales with the channels, and that for pages
/// that the destination has already.
final class PageSource: Sendable {
  /// A stretch of one block.
  struct Piece: Sendable {
    var block: Int
    var range: Range<Int>
  }

  let blocks: [RAMBlock]
  /// Stretches that may hold data; each at most a packet long.
  private let pieces: [Piece]
  private let next = Atomic<Int>(0)
  /// What the destination has already.
  private let far: FarPages?
  private let same = Atomic<Int>(0)
  private let found: Monitor<(zero: [Piece], workers: Int)>

  /// - Parameters:
  ///   - pieceSize: bytes of a packet.
  ///   - workers: how many threads will call ``piece()``, and each ``workerDone()`` once.
  ///   - far: what need not be sent; nil: everything is.
  init(
    _ blocks: [RAMBlock], pieceSize: Int, workers: Int, far: FarPages? = nil
  ) throws(SystemError) {
    self.blocks = blocks
    self.far = far
    var pieces: [Piece] = []
    var holes: [Piece] = []
    for (index, block) in blocks.enumerated() {
      var at = 0
      for extent in try block.dataExtents() {
        if at < extent.lowerBound {
          holes.append(Piece(block: index, range: at..<extent.lowerBound))
        }
        at = extent.lowerBound
        while at < extent.upperBound {
          let end = min(at + pieceSize, extent.upperBound)
          pieces.append(Piece(block: index, range: at..<end))
          at = end
        }
      }
      if at < block.length { holes.append(Piece(block: index, range: at..<block.length)) }
    }
    self.pieces = pieces
    let untold = far.map { far in holes.flatMap(far.untold) } ?? holes
    found = Monitor((untold, workers))
    func pages(_ pieces: [Piece]) -> Int {
      pieces.reduce(0) { $0 + $1.range.count / blocks[$1.block].pageSize }
    }
    same.store(pages(holes) - pages(untold), ordering: .relaxed)
  }

  /// Pages that the destination has already, of those that were looked at.
  var unchanged: Int { same.load(ordering: .relaxed) }

  /// The next stretch for whoever asks; nil when all are dealt out.
  func piece() -> Piece? {
    let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
    return index < pieces.count ? pieces[index] : nil
  }

  /// A worker has found zero pages.
  func foundZero(_ pieces: [Piece]) {
    guard !pieces.isEmpty else { return }
    found.update { $0.zero += pieces }
  }

  /// A worker will find no more.
  func workerDone() { found.update { $0.workers -= 1 } }

  /// Nobody waits any more for workers that will not be done.
  func abandon() { found.update { $0 = ([], 0) } }

  /// Zero pages that have been found and not been taken yet; waits for some. Nil when there are
  /// none left and all workers are done.
  func takeZero() -> [Piece]? {
    found.take(seconds: nil) { state -> [Piece]?? in
      if !state.zero.isEmpty {
        defer { state.zero = [] }
        return .some(state.zero)
      }
      return state.workers <= 0 ? .some(nil) : nil
    } ?? nil
  }

  /// Goes through a stretch page by page.
  ///
  /// - Parameter body: called with the offset of every page that is to be sent with its contents.
  /// - Returns: the stretches of zero pages that are to be told.
  func scan<E>(_ piece: Piece, _ body: (Int) throws(E) -> Void) throws(E) -> [Piece] {
    let block = blocks[piece.block]
    var zero: [Piece] = []
    var same = 0
    var offset = piece.range.lowerBound
    while offset < piece.range.upperBound {
      let next = offset + block.pageSize
      // The stretch lies inside the block's mapping, and pages are page aligned.
      if ZeroPage.isZero(block.base + offset, count: block.pageSize) {
        if let last = zero.last, last.range.upperBound == offset {
          zero[zero.count - 1].range = last.range.lowerBound..<next
        } else {
          zero.append(Piece(block: piece.block, range: offset..<next))
        }
      } else if let far,
        far.has(
          UnsafeRawBufferPointer(start: block.base + offset, count: block.pageSize), at: offset,
          of: piece.block)
      {
        same += 1
      } else {
        try body(offset)
      }
      offset = next
    }
    guard let far else { return zero }
    let untold = zero.flatMap(far.untold)
    same += zero.reduce(0) { $0 + $1.range.count / block.pageSize }
    same -= untold.reduce(0) { $0 + $1.range.count / block.pageSize }
    self.same.wrappingAdd(same, ordering: .relaxed)
    return untold
  }
}
