import CHarness
import PluginAPI

/// `roundtrip/long-stream`: a channel that is used for longer than a counter of 16 bits lasts, or
/// one of 32 bits for bytes.
enum LongStream {
  @Sendable static func check(_ context: Context) throws(Stop) {
    if context.order.isQuick { throw .skipped("only a full run takes the time") }
    let library = try context.library
    let shape = Shape(library)
    // Packets count here, and not what is in them: every other page costs little, and is taken for
    // all packets but a few.
    let lane = try Lane(context, shape, pages: 2 * shape.pageCount) {
      $0 % 2 == 0 ? Lane.mix($0 / 2) : .sparse
    }
    let pages = lane.source.offsets
    // What is poisoned stays so until somebody writes there: a page is looked at in its turn.
    lane.target.poison()
    for number in 0..<66_000 {
      let page = pages[(number % 32 == 0 ? number / 16 : 2 * number + 1) % pages.count]
      try lane.expectPoison([page])
      try lane.take(lane.send([page]), everywhere: false)
      lane.target.poison([page])
    }
    try lane.expectPoison(pages)
    let (bytes, seconds) = try fill(lane, shape, context.order.isLong ? 10 : 2)
    context.measure("stream.bytes", Double(bytes), "bytes")
    if bytes <= 1 << 32 {
      context.reporter.say(
        .text("\(bytes >> 20) MiB went through the channel in \(fixed(seconds, 0)) s, not 4 GiB"))
    }
    lane.close()
  }

  /// Full packets of the pages that cost little, until more than 4 GiB of pages have passed, or the
  /// time is up: bytes of pages, and seconds.
  private static func fill(
    _ lane: Lane, _ shape: Shape, _ seconds: UInt64
  ) throws(Stop) -> (Int, Double) {
    let start = charness_now()
    let deadline = start + seconds * 1_000_000_000
    let pages = lane.source.offsets.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
    var bytes = 0
    while bytes <= 1 << 32, charness_now() < deadline {
      lane.target.poison(pages)
      try lane.take(lane.send(pages), everywhere: false)
      bytes += pages.count * shape.pageSize
    }
    // The others are nobody's in all of these packets.
    try lane.compare(pages)
    return (bytes, Double(charness_now() - start) / 1e9)
  }
}
