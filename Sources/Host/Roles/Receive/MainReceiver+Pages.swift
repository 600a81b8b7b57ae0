import COLO
import Glibc
import Memory
import Migration
import Observe
import Transport
import Wire

/// Pages of the main channel: all of them without multifd, zero pages where the source finds them.
extension MainReceiver {
  func page(_ block: Int, _ offset: UInt64) throws {
    let stage = stage!  // records come after the block list: the decoder sees to that
    let size = options.limits.pageSize
    notePass(block, offset)
    one[0] = offset
    let pages = UnsafeBufferPointer(one)
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slots)
    // The decoder has checked that the page lies inside its block.
    try input.take(
      into: UnsafeMutableRawBufferPointer(start: target.host + Int(target.normal[0]), count: size))
    decoder.didTake(size)
    try stage.process(block: block, normal: pages, zero: none)
    session.mainCounters.page(bytes: size)
  }

  /// Takes a run of pages that are all in the buffer: what is done for each is done for all at once.
  ///
  /// - Returns: false where something else comes first.
  func takeRun() throws -> Bool {
    let bytes = input.bytes
    let consumed = decoder.pages(bytes, into: &pageRun)
    guard consumed > 0 else { return false }
    let stage = stage!  // records come after the block list: the decoder sees to that
    let size = options.limits.pageSize
    notePass(pageRun.block, pageRun.first)
    position = (pageRun.block, pageRun.last)
    let (normal, zero, contents) = (pageRun.normal, pageRun.zero, pageRun.contents)
    let target = try stage.prepare(block: pageRun.block, normal: normal, zero: zero, slots: slots)
    for (offset, place) in zip(target.normal, contents) {
      // The decoder has checked that the page lies inside its block, and its contents in `bytes`,
      // which are as they were: nothing has been read since. Pages have 1024 bytes at the least.
      let (page, source) = (
        target.host + Int(truncatingIfNeeded: offset), bytes.baseAddress! + place
      )
      if target.staysUnread {
        PageCopy.pastCaches(to: page, from: source, count: size)
      } else {
        page.copyMemory(from: source, byteCount: size)
      }
    }
    input.consume(consumed)
    try stage.process(block: pageRun.block, normal: normal, zero: zero)
    session.mainCounters.run(
      bytes: consumed, pageSize: size, normal: normal.count, zero: zero.count)
    return true
  }

  func zeroPage(_ block: Int, _ offset: UInt64, _ fill: UInt8) throws {
    let stage = stage!
    notePass(block, offset)
    one[0] = offset
    let pages = UnsafeBufferPointer(one)
    session.mainCounters.zeroPages(1)
    guard fill != 0 else {
      _ = try stage.prepare(block: block, normal: none, zero: pages, slots: slots)
      try stage.process(block: block, normal: none, zero: pages)
      return
    }
    // Old sources may name another byte than zero.
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slots)
    memset(
      target.host + Int(target.normal[0]), Int32(fill), options.limits.pageSize)
    try stage.process(block: block, normal: pages, zero: none)
  }

  /// A source goes through its blocks in order; going back is a new pass.
  private func notePass(_ block: Int, _ offset: UInt64) {
    if (block, offset) < position || passes == 0 { passes += 1 }
    position = (block, offset)
  }
}
