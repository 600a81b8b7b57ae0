import Synchronization
import System

/// Threads that get a guest's memory ahead of the channels that write it, while the guest comes for
/// the first time.
///
/// A source sends a block from its beginning to its end, several channels side by side. Whoever is
/// the first to write to a chunk has as many of those behind it wanted as were written in a row
/// before it, up to a window; helpers get them, and a channel that comes to one finds it ready.
/// What nobody has written to at the end is given back, so that a sparse guest stays sparse, and
/// while it comes no more than two windows are ahead. A file system without room ends it: what was
/// ahead is given back first, and only what the guest itself has no room for is an error, the
/// writer's.
public final class Preallocator: Sendable {
  /// Bytes that may be ahead of one place: what eight channels write in some milliseconds.
  public static let window = 32 << 20

  /// As many threads as help: none where the channels and their source have all processors, and none
  /// for huge pages, which cost a tenth to get: there helpers took more processor time than they
  /// saved.
  public static func usefulThreads(for blocks: [RAMBlock]) -> Int {
    let processors = Processors.usable
    guard processors > 2, blocks.contains(where: { !$0.pages.isHuge }) else { return 0 }
    return min(8, max(1, processors / 4))
  }

  private let blocks: [RAMBlock]
  private let chunks: ChunksAhead
  private let threads = ThreadGroup()
  private let isLeft = Atomic(false)

  /// Begins. Of blocks whose files existed before nothing is got ahead.
  ///
  /// - Parameters:
  ///   - count: helpers; with none, or if none can be started, blocks are as without this.
  ///   - window: bytes that may be ahead of one place.
  public init(
    _ blocks: [RAMBlock], threads count: Int, window: Int = window
  ) {
    self.blocks = blocks
    chunks = ChunksAhead(blocks, window: window)
    guard count > 0 else { return }
    for (index, block) in blocks.enumerated() { block.getAhead(chunks, index) }
    for number in 0..<count {
      try? threads.start("memory \(number)") { [chunks] in chunks.help() }
    }
  }

  deinit { end(within: 1) }

  /// All pages are there: helpers give back what nobody has written to, behind the caller's back.
  public func finish() { chunks.finish() }

  /// Waits until that is done. Others may write meanwhile.
  ///
  /// - Parameter seconds: for helpers; one that waits for storage which does not answer is left to
  ///   itself, and keeps the blocks.
  /// - Returns: whether all have ended.
  @discardableResult
  public func end(within seconds: Double = .infinity) -> Bool {
    finish()
    guard threads.joinAll(within: seconds.timeLimit) else {
      isLeft.store(true, ordering: .relaxed)
      return false
    }
    guard !isLeft.load(ordering: .relaxed) else { return false }
    // What a writer gives back at this moment.
    chunks.giveUp()
    for block in blocks { block.getAhead(nil, 0) }
    return true
  }
}
