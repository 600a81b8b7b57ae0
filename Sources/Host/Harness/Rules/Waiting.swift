import CHarness
import PluginAPI

/// Whether a channel that is held up in the middle of a packet holds up another: a lock that all
/// channels share. Threads of their own come to it by chance, on idle processors; here one is
/// interrupted at a moment of its packet, and the other has its own meanwhile.
///
/// @unchecked Sendable: each lane is one thread's at a time.
final class Waiting: @unchecked Sendable {
  private let lanes: [Lane]
  private let pages: [UInt64]
  private let sending: Bool
  private var packets: [Packet] = []
  private var patience: UInt64 = 100_000_000

  private init(_ context: Context, sending: Bool) throws(Stop) {
    self.sending = sending
    let few = try Meeting.isSlow(context) ? 4 : 16
    let shape = Shape(try context.library, pages: context.rounds(64, quick: few))
    var lanes: [Lane] = []
    for id in 0..<2 {
      lanes.append(
        try Lane(
          context, shape.channel(id, of: 2), label: "waiting\(id)", content: { _ in .ram }))
    }
    self.lanes = lanes
    pages = Array(lanes[0].source.offsets.prefix(shape.pageCount))
  }

  /// How often the other one waits, of all moments: 0 to 1.
  static func share(_ context: Context, sending: Bool, moments: UInt64) throws(Stop) -> Double {
    let meeting = try Waiting(context, sending: sending)
    // The shortest of some: on a busy machine one may have been kept waiting.
    var whole = UInt64.max
    for _ in 0..<3 { whole = min(whole, try meeting.run(0)) }
    var stuck = 0
    // A packet of a slow codec is waited for much longer than it takes, and met less often.
    meeting.patience = max(100_000_000, 8 * whole)
    let moments = UInt64(context.afford(Int(moments), each: 3 * whole))
    for moment in 1...moments {
      try Meeting.near(Double(moment) / Double(moments + 1), &whole, once: meeting.run)
      if charness_met_in_vain() != 0 { stuck += 1 }
    }
    for lane in meeting.lanes { lane.close() }
    return Double(stuck) / Double(moments)
  }

  /// One packet of each channel; how long the first one took, in nanoseconds.
  private func run(_ delay: UInt64) throws(Stop) -> UInt64 {
    if !sending {
      // A stateful receiver wants each once.
      packets = []
      for lane in lanes {
        packets.append(try lane.send(pages))
        lane.target.poison()
      }
    }
    return meet(after: delay, patience: patience) {
      self.call(0)
    } _: {
      self.call(1)
    }
  }

  private func call(_ id: Int) {
    // What is wrong is reported where it is seen.
    if sending {
      _ = lanes[id].sender.prepare(lanes[id].source, pages)
    } else {
      _ = try? lanes[id].take(packets[id])
    }
  }
}
