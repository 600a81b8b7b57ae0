import CHarness
import PluginAPI

/// `isolation`: channels share nothing.
enum Isolation {
  static let bodies: [String: Rules.Body] = [
    "isolation/interleaved": interleaved, "isolation/concurrent": concurrent,
    "isolation/failure": failure, "isolation/options": options,
    "isolation/first-packets": FirstPackets.check, "isolation/silent-peer": SilentPeer.check,
  ]

  /// Channels take turns; each packet arrives, and where bytes are determined they are those of a
  /// channel alone.
  @Sendable private static func interleaved(_ context: Context) throws(Stop) {
    let library = try context.library
    let shape = Shape(library, pages: 16)
    let count = context.rounds(4, quick: 3)
    var random = context.random("order")
    let turns = (0..<context.rounds(120, quick: 24)).map { _ in
      (Int.random(in: 0..<count, using: &random), Int.random(in: 0...16, using: &random))
    }
    /// Payloads of one channel, or of all of them by turns.
    func payloads(of only: Int?) throws(Stop) -> [[[UInt8]]] {
      let lanes = try Lifecycle.makeLanes(context, shape, count: count)
      var made = [[[UInt8]]](repeating: [], count: count)
      var pages = context.random("pages")
      for (id, pageCount) in turns {
        let offsets = lanes[id].source.pick(pageCount, &pages)
        if let only, only != id { continue }
        let packet = try lanes[id].send(offsets)
        try lanes[id].deliver(packet)
        made[id].append(packet.payload)
      }
      return made
    }
    let together = try payloads(of: nil)
    guard library.has(MULTIFD_CAP_DETERMINISTIC) else { return }
    for id in 0..<count {
      context.check(
        try payloads(of: id)[id] == together[id],
        "channel \(id) sends other bytes when other channels are at work")
    }
  }

  @Sendable private static func concurrent(_ context: Context) throws(Stop) {
    try threads(context)
    // What two threads come to by chance; with every end of an option, too.
    if context.hasFailed || charness_sanitized() != 0 { return }
    try Meeting.ofPackets(context, moments: context.rounds(12, quick: 8))
    if context.order.isQuick { return }
    for options in try Options.extremes(context) where !context.hasFailed {
      if !context.order.isLong, try Options.isSlow(options, context) { continue }
      guard try Options.holds(options, context) else { continue }
      do throws(Stop) {
        let deadline = charness_now() + 500_000_000
        try Meeting.ofPackets(context.with(options, deadline: deadline), moments: 12)
      } catch {
        // A slow codec has met often enough.
        if case .failed = error { throw .failed }
      }
    }
  }

  private static func threads(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: context.rounds(32, quick: 16))
    let count = 4, rounds = context.rounds(150, quick: 40)
    // As many channels as stock QEMUs may have, and numbers up to the last one.
    let ends = [(channels: count, step: 1), (256, 64)]
    let lives = context.order.isQuick ? ends : ends + [(64, 16)]
    concurrently(count * 2) { thread in
      let id = thread % count
      do throws(Stop) {
        // Channels come and go while others are busy.
        for (life, (channels, step)) in lives.enumerated() {
          let place = step > 1 ? (id + 1) * step - 1 : id
          let lane = try Lane(
            context, shape.channel(place, of: channels), label: "\(thread).\(life)",
            content: Lane.mix)
          var random = context.random("pages\(thread).\(life)")
          // A slow codec has been at it beside the others for long enough with fewer packets.
          let deadline = charness_now() + UInt64(context.rounds(400, quick: 8)) * 1_000_000
          for round in 0..<rounds / 3 where round < rounds / 12 || charness_now() < deadline {
            let pages = Int.random(in: 0...shape.pageCount, using: &random)
            try lane.pass(lane.source.pick(pages, &random))
          }
          lane.close()
        }
      } catch {
        // Reported where it was seen.
      }
    }
  }

  /// Some channels are given nonsense and closed, the others go on.
  @Sendable private static func failure(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let good = try Lane(context, shape.channel(0, of: 2), label: "good", content: Lane.mix)
    var random = context.random("pages")
    for round in 0..<context.rounds(60, quick: 15) {
      try good.pass(good.source.pick(8, &random))
      let packet = try good.send(good.source.pick(8, &random))
      let bad = try Lane(context, shape.channel(1, of: 2), label: "\(round)", content: Lane.mix)
      let honest = try bad.send(Array(bad.source.offsets.prefix(6)))
      var bytes = honest.payload
      for index in bytes.indices where index % 7 == round % 7 { bytes[index] ^= 0x55 }
      _ = bad.receiver.receive(Array(bytes.dropLast(round % 3)), bad.target, honest.offsets)
      if round % 2 == 0 { bad.close() }
      try good.deliver(packet)
    }
  }

  @Sendable private static func options(_ context: Context) throws(Stop) {
    let library = try context.library
    guard !library.options.isEmpty else { throw .skipped("no options") }
    let shape = Shape(library, pages: 16)
    var random = context.random("options")
    var lanes: [Lane] = []
    for option in library.options {
      guard let name = option.name else { continue }
      for value in try Options.values(of: option, context).prefix(3) where lanes.count < 8 {
        let options = [name: value]
        if Options.mayBeRefused(options), try !Options.holds(options, context) { continue }
        if context.order.isQuick, try Options.isSlow(options, context) { continue }
        let lane = try Lane(
          context, shape.channel(lanes.count, of: 8), options: options,
          label: "\(name)=\(value)", content: Lane.mix)
        lanes.append(lane)
      }
    }
    let patience = Patience(context, milliseconds: 30)
    for round in 0..<context.rounds(80, quick: 40) where round < 16 || !patience.isOver {
      let lane = lanes.randomElement(using: &random)!
      try lane.pass(lane.source.pick(Int.random(in: 1...16, using: &random), &random))
    }
    for lane in lanes { lane.close() }
  }
}
