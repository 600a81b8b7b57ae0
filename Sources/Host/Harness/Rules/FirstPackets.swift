import CHarness
import Glibc
import PluginAPI

/// `isolation/first-packets`: the first setups and the first packets of all channels come at the
/// same moment, as they do in a migration; and the last cleanup of one comes with the first setup of
/// another. What a backend makes once for all channels, when somebody needs it first, is made then,
/// and what it takes away with the last of them.
///
/// A process has one such moment: each attempt is a fork of this one, which has used no channel yet.
enum FirstPackets {
  @Sendable static func check(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with fork()") }
    _ = try context.library
    // What the attempts tell: how long a call takes that is not interrupted.
    let shared = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    guard let shared, shared != MAP_FAILED else { harnessFault("mmap of 4096 bytes") }
    defer { munmap(shared, 4096) }
    let attempts = Attempts(
      blocks: try Meeting.blocks(context, pages: 16, content: context.manyPages),
      time: shared.bindMemory(to: UInt64.self, capacity: 1))
    try attempts.passAlone(context)
    for occasion in [Meeting.Occasion.receiving, .sending] {
      try attempts.meet(context, occasion, moments: context.rounds(60, quick: 8), measured: 3)
    }
    // Setups are short, and whoever makes something in them is at it most of the time.
    for occasion in [Meeting.Occasion.opening, .following, .preceding] {
      try attempts.meet(context, occasion, moments: context.rounds(24, quick: 3), measured: 1)
    }
    if context.order.isQuick { return }
    // What is made for some options only is made in a process that has seen no others.
    for options in try Options.extremes(context) where try attempts.holds(context, options) {
      for occasion in [Meeting.Occasion.receiving, .sending, .opening] {
        try attempts.meet(
          context.with(options), occasion, moments: 8, measured: 1, time: 10_000_000)
      }
    }
  }
}

/// Meetings, each in a process of its own.
private struct Attempts {
  let blocks: [Meeting.Blocks]
  /// One number, in a page that all processes share.
  let time: UnsafeMutablePointer<UInt64>

  /// Seconds for two packets.
  private static let patience: UInt32 = 5
  /// The exit codes of an attempt that has reported something, and of one that is not worth it.
  private static let failed: Int32 = 3, no: Int32 = 4

  /// Two channels meet at so many moments of what the first does; how long that takes `measured`
  /// attempts tell, of which the shortest counts: on a busy machine one may have been kept waiting.
  /// Fewer where those would take longer than `most` nanoseconds.
  func meet(
    _ context: Context, _ occasion: Meeting.Occasion, moments: Int, measured: Int,
    time most: UInt64 = 500_000_000
  ) throws(Stop) {
    var stuck = 0
    var whole: UInt64 = 10_000_000
    for _ in 0..<measured {
      if try attempt(context, occasion, delay: 0) { stuck += 1 }
      whole = min(whole, time.pointee)
    }
    // A slow codec is met less often.
    let moments = max(1, min(UInt64(moments), most / max(1, whole)))
    for moment in 1...moments where !context.hasFailed && stuck < 3 {
      let delay = max(1, whole * moment / (moments + 1))
      if try attempt(context, occasion, delay: delay) { stuck += 1 }
    }
    // Once may be the harness's own: it is interrupted as well.
    context.check(stuck < 3, "two channels that meet in their first calls do not come to an end")
  }

  /// More of a processor than a channel and a few packets are worth, in nanoseconds: an end of an
  /// option that costs it is met by chance only.
  private static let mostTime: UInt64 = 20_000_000

  /// Whether a channel with these options works, and is not slow.
  func holds(_ context: Context, _ options: [String: String]) throws(Stop) -> Bool {
    let status = try context.forked {
      guard let isSlow = try? Options.isSlow(options, context), !isSlow else { return Self.no }
      let start = charness_thread_time()
      guard let holds = try? Options.holds(options, context), holds else { return Self.no }
      return charness_thread_time() - start < Self.mostTime ? 0 : Self.no
    }
    return status == 0
  }

  /// Ends the test where packets do not pass while nobody else is at it.
  func passAlone(_ context: Context) throws(Stop) {
    if blocks.allSatisfy({ $0.image == nil }) { return }
    let status = try context.forked {
      let meeting = try? Meeting(context, .receiving, blocks: blocks)
      return (try? meeting?.passAlone()) == nil ? Self.failed : 0
    }
    try judge(status, context)
  }

  /// True when it did not come to an end.
  private func attempt(
    _ context: Context, _ occasion: Meeting.Occasion, delay: UInt64
  ) throws(Stop) -> Bool {
    let status = try context.forked {
      signal(SIGALRM, SIG_DFL)
      alarm(Self.patience)
      if let meeting = try? Meeting(context, occasion, blocks: blocks),
        let took = try? meeting.run(delay)
      {
        time.pointee = took
        try? meeting.compare()
      }
      return context.hasFailed ? Self.failed : 0
    }
    if status & 0x7f == SIGALRM { return true }
    try judge(status, context)
    return false
  }

  /// How a process has ended that did come to an end.
  private func judge(_ status: Int32, _ context: Context) throws(Stop) {
    // What was found, or died of, has been told.
    if status & 0x7f != 0 || status == Self.failed << 8 { throw .failed }
    context.check(
      status == 0, as: "lifecycle/no-exit", "the process was ended with exit code \(status >> 8)")
  }
}
