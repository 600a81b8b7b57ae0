import PluginAPI

/// `order`: what the order of packets means.
enum Order {
  static let bodies: [String: Rules.Body] = [
    "order/independent-order": independentOrder, "order/independent-channel": independentChannel,
    "order/sends-independent": sendsIndependent, "order/stateful-in-order": inOrder,
    "order/stateful-disorder": disorder,
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
    var random = context.random("pages")
    for options in try [context.order.options] + Options.affordable(context) {
      let isDefault = options == context.order.options
      if !isDefault, try !Options.holds(options, context) { continue }
      let lane = try Lane(
        context, Shape(library, pages: 16), options: options, content: Lane.mix)
      let count = isDefault ? context.rounds(40, quick: 12) : 4
      let packets = try sent(lane, count: count, &random)
      for packet in packets.reversed() + packets.shuffled(using: &random) {
        try lane.deliver(packet)
      }
      lane.close()
    }
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

  /// What a host relies on that decodes some of what it sends.
  @Sendable private static func sendsIndependent(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.has(MULTIFD_CAP_SENDS_INDEPENDENT) else {
      throw .skipped("not SENDS_INDEPENDENT")
    }
    guard context.order.options.isEmpty else {
      throw .skipped("SENDS_INDEPENDENT says something of default options only")
    }
    var random = context.random("pages")
    for round in 0..<context.rounds(20, quick: 4) {
      let lane = try Lane(
        context, Shape(library, pages: 16), label: "\(round)", content: Lane.mix)
      let packets = try sent(lane, count: 12, &random)
      try lane.deliver(packets[0])
      // Some, in any order, and one of them twice.
      let some = packets.dropFirst().shuffled(using: &random).prefix(6)
      for packet in some + some.prefix(1) { try lane.deliver(packet) }
      lane.close()
    }
  }

  @Sendable private static func inOrder(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.isStateful else { throw .skipped("not STATEFUL") }
    let shape = Shape(library)
    let lane = try Lane(context, shape, pages: 150, content: context.manyPages)
    var random = context.random("pages")
    // All are encoded before the first is decoded: the state of one side follows the other's
    // packets alone.
    var packets: [Packet] = []
    for round in 0..<context.rounds(100, quick: 20) {
      let isFull = round % context.rounds(3, quick: 5) == 0
      let count = isFull ? shape.pageCount : Int.random(in: 0...9, using: &random)
      packets.append(try lane.send(lane.source.pick(count, &random)))
    }
    for packet in packets { try lane.deliver(packet) }
  }

  @Sendable private static func disorder(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.isStateful else { throw .skipped("not STATEFUL") }
    let shape = Shape(library, pages: 16)
    var random = context.random("pages")
    for round in 0..<context.rounds(60, quick: 8) {
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
