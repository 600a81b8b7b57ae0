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
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slot)
    // The decoder has checked that the page lies inside its block.
    try input.take(
      into: UnsafeMutableRawBufferPointer(start: target.host + Int(target.normal[0]), count: size))
    decoder.didTake(size)
    try stage.process(block: block, normal: pages, zero: none)
    session.mainCounters.page(bytes: size)
  }

  func zeroPage(_ block: Int, _ offset: UInt64, _ fill: UInt8) throws {
    let stage = stage!
    notePass(block, offset)
    one[0] = offset
    let pages = UnsafeBufferPointer(one)
    session.mainCounters.zeroPages(1)
    guard fill != 0 else {
      _ = try stage.prepare(block: block, normal: none, zero: pages, slots: slot)
      try stage.process(block: block, normal: none, zero: pages)
      return
    }
    // Old sources may name another byte than zero.
    let target = try stage.prepare(block: block, normal: pages, zero: none, slots: slot)
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
