import CHarness
import Glibc
import PluginAPI

/// `isolation/first-packets`: the first packets of all channels come at the same moment, as they do
/// in a migration. What a backend makes once for all channels, when somebody needs it first, is made
/// then.
///
/// A process has one such moment: each attempt is a fork of this one, which has used no channel yet.
/// The first call of one channel is interrupted a little later in each, and that of another is made
/// meanwhile.
enum FirstPackets {
  @Sendable static func check(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with fork()") }
    _ = try context.library
    // What the attempts tell: how long a call takes that is not interrupted.
    let shared = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    guard let shared, shared != MAP_FAILED else { harnessFault("mmap of 4096 bytes") }
    defer { munmap(shared, 4096) }
    // One number, in a page of its own.
    let time = shared.bindMemory(to: UInt64.self, capacity: 1)
    var stuck = 0
    for sending in [false, true] {
      let moments = UInt64(context.rounds(100, quick: 8))
      // The shortest of some: on a busy machine one may have been kept waiting.
      var whole: UInt64 = 10_000_000
      for _ in 0..<3 {
        if try attempt(context, sending: sending, delay: 0, time) { stuck += 1 }
        whole = min(whole, time.pointee)
      }
      for moment in 1...moments where !context.hasFailed && stuck < 3 {
        let delay = max(1, whole * moment / moments)
        if try attempt(context, sending: sending, delay: delay, time) { stuck += 1 }
      }
    }
    // Once may be the harness's own: it is interrupted as well.
    context.check(stuck < 3, "first packets of two channels that meet do not come to an end")
  }

  /// Seconds for two packets.
  private static let patience: UInt32 = 5

  /// True when it did not come to an end.
  private static func attempt(
    _ context: Context, sending: Bool, delay: UInt64, _ time: UnsafeMutablePointer<UInt64>
  ) throws(Stop) -> Bool {
    let status = try context.forked {
      signal(SIGALRM, SIG_DFL)
      alarm(patience)
      if let meeting = try? Meeting(context, sending: sending) {
        time.pointee = meeting.run(delay)
        if !sending { meeting.compare() }
      }
      return context.hasFailed ? failed : 0
    }
    if status & 0x7f == SIGALRM { return true }
    // What was found, or died of, has been told.
    if status & 0x7f != 0 || status == failed << 8 { throw .failed }
    context.check(
      status == 0, as: "lifecycle/no-exit", "the process was ended with exit code \(status >> 8)")
    return false
  }

  /// The exit code of an attempt that has reported something.
  private static let failed: Int32 = 3

  /// Two channels whose first packets are still to come.
  ///
  /// @unchecked Sendable: each lane is one thread's, and compared when both have ended.
  private final class Meeting: @unchecked Sendable {
    private let lanes: [Lane]
    private var packets: [Packet] = []
    private let pages: [UInt64]
    private let sending: Bool

    init(_ context: Context, sending: Bool) throws(Stop) {
      self.sending = sending
      let shape = Shape(try context.library, pages: 16)
      var lanes: [Lane] = []
      for id in 0..<2 {
        lanes.append(
          try Lane(context, shape.channel(id, of: 2), label: "\(id)", content: Lane.mix))
      }
      self.lanes = lanes
      pages = Array(lanes[0].source.offsets.prefix(shape.pageCount))
      if !sending { for lane in lanes { packets.append(try lane.send(pages)) } }
      for lane in lanes { lane.target.poison() }
    }

    /// How long the first one's call took, in nanoseconds.
    func run(_ delay: UInt64) -> UInt64 {
      meet(after: delay) {
        call(0)
      } _: {
        call(1)
      }
    }

    private func call(_ id: Int) {
      // What is wrong is reported where it is seen.
      if sending {
        if let packet = try? lanes[id].send(pages) { _ = try? lanes[id].take(packet) }
      } else {
        _ = try? lanes[id].take(packets[id])
      }
    }

    /// Once more, when both have ended: what one has done to the other may have come late.
    func compare() { for lane in lanes { _ = try? lane.compare(pages) } }
  }
}
