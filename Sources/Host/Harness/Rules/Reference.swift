import Glibc
import PluginAPI
import PluginLoader

/// Packets of backends that declare REFERENCE: what goes over is how pages differ from an image that
/// both sides have.
enum Reference {
  private static func declared(_ context: Context) throws(Stop) -> Library {
    let library = try context.library
    guard library.has(MULTIFD_CAP_REFERENCE) else { throw .skipped("REFERENCE is not declared") }
    return library
  }

  // MARK: There and back

  @Sendable static func roundtrip(_ context: Context) throws(Stop) {
    let shape = Shape(try declared(context), pages: 16)
    try nearAndFar(context, shape)
    try again(context, shape)
    try highOffsets(context, shape)
    try gain(context, shape)
    try large(context)
    try byTurns(context, shape)
    try inFlight(context)
  }

  /// As many pages as a packet can have, and the largest pages that there are.
  private static func large(_ context: Context) throws(Stop) {
    let library = try context.library
    var shapes = [Shape(library)]
    if let log = (13...21).last(where: { library.supports(1 << $0, 2) }) {
      shapes.append(Shape(pageSize: 1 << log, pageCount: 2))
    }
    let kinds = Nearness.allCases
    for shape in shapes {
      let lane = ReferenceLane(
        try Lane(context, shape, pages: shape.pageCount, label: shape.text, content: Lane.mix))
      var random = context.random(shape.text)
      for round in 0..<2 {
        let offsets = lane.source.pick(shape.pageCount, &random)
        let image = Block(referenceOf: lane.source, offsets, &random) {
          round == 0 ? .close : kinds[$0 % kinds.count]
        }
        try lane.pass(offsets, image)
      }
      lane.close()
    }
  }

  /// Two channels take turns, each with images of its own.
  private static func byTurns(_ context: Context, _ shape: Shape) throws(Stop) {
    var lanes: [ReferenceLane] = []
    for id in 0..<2 {
      lanes.append(
        ReferenceLane(
          try Lane(context, shape.channel(id, of: 2), label: "turn\(id)", content: Lane.mix)))
    }
    var random = context.random("turns")
    let offsets = Array(lanes[0].source.offsets.prefix(shape.pageCount))
    for round in 0..<8 {
      let lane = lanes[round % 2]
      let image = Block(referenceOf: lane.source, offsets, &random) { _ in
        round % 3 == 0 ? .half : .close
      }
      try lane.pass(offsets, round == 5 ? nil : image)
    }
    for lane in lanes { lane.close() }
  }

  /// Several packets in flight, each with an image of its own.
  private static func inFlight(_ context: Context) throws(Stop) {
    let library = try context.library
    let most = max(library.depth(.send), library.depth(.receive))
    guard most > 1 else { return }
    let convoy = try Convoy(context, Shape(library, pages: 24), label: "images")
    var random = context.random("cargo")
    for rests in [false, true] {
      let count = rests ? 2 * most : context.rounds(40, quick: 12) + 2 * most
      let cargo = convoy.refer(convoy.load(count, &random), &random)
      let packets = try convoy.send(cargo, window: most, rests: rests)
      try convoy.deliver(packets, cargo, window: most, rests: rests)
    }
    convoy.close()
  }

  /// Pages of every kind and references of every kind, in packets with and without.
  private static func nearAndFar(_ context: Context, _ shape: Shape) throws(Stop) {
    let lane = ReferenceLane(try Lane(context, shape, content: Lane.mix))
    if try context.library.has(MULTIFD_CAP_DETERMINISTIC) {
      lane.twin = try SendDriver(context, shape)
    }
    var random = context.random("images")
    let kinds = Nearness.allCases
    for round in 0..<context.rounds(120, quick: 24) {
      let offsets = lane.source.pick(Int.random(in: 1...shape.pageCount, using: &random), &random)
      let image =
        round % 4 == 3
        ? nil
        : Block(referenceOf: lane.source, offsets, &random) { kinds[($0 + round) % kinds.count] }
      try lane.pass(offsets, image)
    }
    lane.close()
  }

  /// The same pages in one packet after another, each time against something else.
  private static func again(_ context: Context, _ shape: Shape) throws(Stop) {
    let lane = ReferenceLane(try Lane(context, shape, label: "again", .random))
    var random = context.random("again")
    let offsets = lane.source.pick(8, &random)
    for nearness: Nearness? in [.close, .close, .half, nil, .close, .unrelated, .zero, .close] {
      let image = nearness.map { nearness in
        Block(referenceOf: lane.source, offsets, &random) { _ in nearness }
      }
      try lane.pass(offsets, image)
    }
    lane.close()
  }

  /// Offsets of more than 32 bits count for the image as they do for the block.
  private static func highOffsets(_ context: Context, _ shape: Shape) throws(Stop) {
    let size = UInt64(shape.pageSize)
    // Where 32 bits of an offset lead there is another page.
    let all = [1 << 33 + size, size, 3 << 31, 1 << 31]
    let offsets = Array(all.prefix(shape.pageCount))
    let source = Block(pageSize: shape.pageSize, offsets: all, kind: .source)
    let target = Block(pageSize: shape.pageSize, offsets: all, kind: .target)
    var random = context.random("high")
    source.fill(.random, &random)
    source.allow(.reading)
    let image = Block(referenceOf: source, source.offsets, &random) { _ in .close }
    let send = try SendDriver(context, shape)
    let receive = try ReceiveDriver(context, shape)
    let payload = send.prepare(source, offsets, reference: image)
    try context.demand(payload.status, "send_prepare()")
    let status = receive.receive(payload.bytes, target, offsets, reference: image)
    try context.require(status.isOK, "recv() returns \(status) for pages at high offsets")
    for offset in offsets {
      try context.require(
        source.equals(target, at: offset), "the page at offset \(offset) is not what was sent")
    }
  }

  /// Pages that cannot be told in less than themselves, unless the reference is made use of: a host
  /// keeps an image for that.
  private static func gain(_ context: Context, _ shape: Shape) throws(Stop) {
    let lane = ReferenceLane(try Lane(context, shape, label: "gain", .random))
    var random = context.random("gain")
    let offsets = Array(lane.source.offsets.prefix(shape.pageCount))
    let image = Block(referenceOf: lane.source, offsets, &random) { _ in .close }
    let payload = try lane.pass(offsets, image)
    let whole = offsets.count * shape.pageSize
    context.check(
      payload.bytes.count < whole / 2,
      "\(offsets.count) random pages that differ from their references in 8 bytes each become "
        + "\(payload.bytes.count) bytes: the reference is not made use of")
    lane.close()
  }

  // MARK: Hostile

  /// What is made with one reference meets the same, another, or none, as it is and spoilt.
  @Sendable static func hostile(_ context: Context) throws(Stop) {
    _ = try declared(context)
    for nearness in [Nearness.close, .half] {
      let attack = try Attack(context, nearness: nearness)
      var random = context.random("other")
      let other = Block(referenceOf: attack.source, attack.source.offsets, &random) { _ in
        .unrelated
      }
      try meet(attack, [attack.reference, other, nil])
      try cut(attack, &random)
      try spoil(attack, [attack.reference, nil], &random)
    }
  }

  private static func meet(_ attack: Attack, _ images: [Block?]) throws(Stop) {
    for number in 0...1 {
      let packet = attack.packets[number]
      for image in images {
        // Other pages than were sent, or an error: the peer's fault both times.
        attack.hit(
          try attack.receiver(after: number), packet.payload, packet.offsets, reference: image,
          image == nil ? "without its reference" : "with a reference")
        let places = [UInt64](repeating: packet.offsets[0], count: packet.offsets.count)
        attack.hit(
          try attack.receiver(after: number), packet.payload, places, reference: image,
          "one page again and again")
      }
    }
  }

  private static func cut(_ attack: Attack, _ random: inout Seeded) throws(Stop) {
    let context = attack.context
    for number in 0...1 {
      let packet = attack.packets[number]
      for at in attack.places(packet.payload.count, most: context.rounds(400, quick: 60), &random) {
        let accepted = attack.hit(
          try attack.receiver(after: number), Array(packet.payload[..<at]), packet.offsets,
          reference: attack.reference, "cut at byte \(at)")
        context.check(
          !accepted || attack.hasArrived(number), as: "hostile/truncated",
          "a payload of \(packet.payload.count) bytes that ends at byte \(at) is accepted")
      }
      for tail in [[0], [1, 2, 3], packet.payload] {
        let accepted = attack.hit(
          try attack.receiver(after: number), packet.payload + tail, packet.offsets,
          reference: attack.reference, "\(tail.count) bytes more")
        context.check(
          !accepted, as: "hostile/surplus",
          "a payload of \(packet.payload.count) bytes with \(tail.count) behind it is accepted")
      }
    }
  }

  private static func spoil(
    _ attack: Attack, _ images: [Block?], _ random: inout Seeded
  ) throws(Stop) {
    for round in 0..<attack.context.rounds(1000, quick: 100) {
      var payload = attack.packets[0].payload
      guard !payload.isEmpty else { return }
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let reach = round % 2 == 0 ? payload.count : min(24, payload.count)
        let at = Int.random(in: 0..<reach, using: &random)
        payload[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      attack.hit(
        try attack.receiver(after: 0), payload, attack.packets[0].offsets,
        reference: images[round / 2 % images.count], "round \(round)")
    }
  }
}
