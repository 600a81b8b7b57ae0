import PluginAPI

/// `isolation`: channels share nothing.
enum Isolation {
  static let bodies: [String: Rules.Body] = [
    "isolation/interleaved": interleaved, "isolation/concurrent": concurrent,
    "isolation/failure": failure, "isolation/options": options,
  ]

  /// Channels take turns; each packet arrives, and where bytes are determined they are those of a channel alone.
  @Sendable private static func interleaved(_ context: Context) throws(Stop) {
    let library = try context.library
    let shape = Shape(library, pages: 16)
    let count = 4
    var random = context.random("order")
    let turns = (0..<context.rounds(120, quick: 40)).map { _ in
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
    let shape = Shape(try context.library, pages: 32)
    let count = 4, rounds = context.rounds(150, quick: 40)
    concurrently(count * 2) { thread in
      let id = thread % count
      do throws(Stop) {
        // Channels come and go while others are busy.
        for life in 0..<3 {
          let lane = try Lane(
            context, shape.channel(id, of: count), label: "\(thread).\(life)", content: Lane.mix)
          var random = context.random("pages\(thread).\(life)")
          for _ in 0..<rounds / 3 {
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
      for value in option.extremes.prefix(3) where lanes.count < 8 {
        let lane = try Lane(
          context, shape.channel(lanes.count, of: 8), options: [name: value],
          label: "\(name)=\(value)", content: Lane.mix)
        lanes.append(lane)
      }
    }
    for _ in 0..<context.rounds(80, quick: 24) {
      let lane = lanes.randomElement(using: &random)!
      try lane.pass(lane.source.pick(Int.random(in: 1...16, using: &random), &random))
    }
    for lane in lanes { lane.close() }
  }
}

/// `order`: what the order of packets means.
enum Order {
  static let bodies: [String: Rules.Body] = [
    "order/independent-order": independentOrder, "order/independent-channel": independentChannel,
    "order/stateful-in-order": inOrder, "order/stateful-disorder": disorder,
  ]

  private static func sent(_ lane: Lane, count: Int, _ random: inout Seeded) throws(Stop)
    -> [Packet]
  {
    var packets: [Packet] = []
    for _ in 0..<count { packets.append(try lane.send(lane.source.pick(6, &random))) }
    return packets
  }

  @Sendable private static func independentOrder(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.has(MULTIFD_CAP_INDEPENDENT) else { throw .skipped("not INDEPENDENT") }
    let lane = try Lane(context, Shape(library, pages: 16), content: Lane.mix)
    var random = context.random("pages")
    let packets = try sent(lane, count: context.rounds(40, quick: 12), &random)
    for packet in packets.reversed() + packets.shuffled(using: &random) { try lane.deliver(packet) }
  }

  @Sendable private static func independentChannel(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.has(MULTIFD_CAP_INDEPENDENT) else { throw .skipped("not INDEPENDENT") }
    let shape = Shape(library, pages: 16)
    let lane = try Lane(context, shape, content: Lane.mix)
    var random = context.random("pages")
    for packet in try sent(lane, count: context.rounds(20, quick: 8), &random) {
      // A receiver that has seen nothing else, and is another channel.
      let receiver = try ReceiveDriver(context, shape.channel(7, of: 8))
      lane.target.poison()
      let status = receiver.receive(packet.payload, lane.target, packet.offsets)
      try context.require(status.isOK, "alone on another channel: recv() returns \(status)")
      try lane.compare(packet.offsets)
    }
  }

  @Sendable private static func inOrder(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.isStateful else { throw .skipped("not STATEFUL") }
    let shape = Shape(library)
    let lane = try Lane(context, shape, pages: 150, content: Lane.mix)
    var random = context.random("pages")
    // All are encoded before the first is decoded: the state of one side follows the other's packets alone.
    var packets: [Packet] = []
    for round in 0..<context.rounds(100, quick: 30) {
      let count = round % 3 == 0 ? shape.pageCount : Int.random(in: 0...9, using: &random)
      packets.append(try lane.send(lane.source.pick(count, &random)))
    }
    for packet in packets { try lane.deliver(packet) }
  }

  @Sendable private static func disorder(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.isStateful else { throw .skipped("not STATEFUL") }
    let shape = Shape(library, pages: 16)
    var random = context.random("pages")
    for round in 0..<context.rounds(60, quick: 15) {
      let lane = try Lane(context, shape, label: "\(round)", content: Lane.mix)
      let packets = try sent(lane, count: 6, &random)
      for packet in packets.shuffled(using: &random) {
        lane.target.poison()
        if !lane.receiver.receive(packet.payload, lane.target, packet.offsets).isOK { break }
      }
      lane.close()
    }
  }
}
