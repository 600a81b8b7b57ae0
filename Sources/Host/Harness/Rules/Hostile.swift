import CHarness
import Glibc
import PluginAPI

/// `hostile`: a payload that no honest peer sends is a clean error: no write outside the packet's
/// pages, bounded time (the test's limit) and memory.
enum Hostile {
  static let bodies: [String: Rules.Body] = [
    "hostile/truncated": truncated, "hostile/surplus": surplus, "hostile/page-count": pageCount,
    "hostile/bit-flips": { context throws(Stop) in try bitFlips(context, full: 2000, quick: 150) },
    "hostile/noise": noise, "hostile/length-fields": lengthFields,
    "hostile/foreign-payload": foreignPayload, "hostile/bomb": Bomb.check, "hostile/replay": replay,
    "hostile/loss": loss, "hostile/wrong-channel": wrongChannel,
    "hostile/repeated-offset": repeatedOffset, "hostile/reference": Reference.hostile,
    "hostile/extremes": { context throws(Stop) in
      try extremes(context, step: 1)
      try FullPackets.attack(context)
    },
    // Watched for in all of these tests; here by a part of the extremes.
    "hostile/stale-memory": { context throws(Stop) in try extremes(context, step: 17) },
    "hostile/time": { context throws(Stop) in
      try extremes(context, step: 17)
      // In haste that of the extremes is enough.
      if !context.order.isQuick { try FullPackets.attack(context, inBrief: true) }
    },
    // Statuses and reasons are looked at in every test; this gives occasion for many.
    "hostile/status": { context throws(Stop) in try bitFlips(context, full: 400, quick: 60) },
    "hostile/reason": { context throws(Stop) in try bitFlips(context, full: 400, quick: 60) },
  ]

  @Sendable private static func truncated(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    var random = context.random("places")
    for number in 0...1 {
      let packet = attack.packets[number]
      let most = context.rounds(6000, quick: 140)
      for cut in attack.affordable(attack.places(packet.payload.count, most: most, &random)) {
        let receiver = try attack.receiver(after: number)
        let accepted = attack.hit(
          receiver, Array(packet.payload[..<cut]), packet.offsets, "cut at byte \(cut)")
        // A cut may take away nothing that carries pages, such as a flush.
        context.check(
          !accepted || attack.hasArrived(number),
          "a payload of \(packet.payload.count) bytes that ends at byte \(cut) is accepted")
      }
    }
  }

  @Sendable private static func surplus(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    let (first, second) = (attack.packets[0], attack.packets[1])
    var random = context.random("tails")
    let noise = (0..<100).map { _ in UInt8.random(in: 0...255, using: &random) }
    let tails: [[UInt8]] = [
      [0], [0xff], [1, 2, 3], [UInt8](repeating: 0, count: 64), noise,
      [UInt8](repeating: 0, count: attack.shape.pageSize), first.payload, second.payload,
    ]
    for tail in tails {
      let receiver = try attack.receiver(after: 0)
      let accepted = attack.hit(
        receiver, first.payload + tail, first.offsets, "\(tail.count) bytes more")
      context.check(
        !accepted,
        "a payload of \(first.payload.count) bytes with \(tail.count) bytes behind it is accepted")
    }
  }

  @Sendable private static func pageCount(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    let all = attack.source.offsets
    for packet in attack.packets {
      let number = packet.offsets == attack.packets[0].offsets ? 0 : 1
      for count in 1...min(attack.shape.pageCount, 6) where count != packet.offsets.count {
        let receiver = try attack.receiver(after: number)
        let accepted = attack.hit(
          receiver, packet.payload, Array(all.prefix(count)), "for \(count) pages")
        context.check(
          !accepted, "a payload of \(packet.offsets.count) pages is accepted for \(count) pages")
      }
    }
  }

  private static func bitFlips(_ context: Context, full: Int, quick: Int) throws(Stop) {
    let attack = try Attack(context)
    var random = context.random("flips")
    for round in attack.affordable(Array(0..<context.rounds(full, quick: quick))) {
      let receiver = try attack.receiver(after: 0)
      var spoilt = attack.packets.map(\.payload)
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let number = Int.random(in: 0...1, using: &random)
        guard !spoilt[number].isEmpty else { continue }
        // The front more often: it is where formats keep what they rely on.
        let reach = round % 2 == 0 ? spoilt[number].count : min(24, spoilt[number].count)
        let at = Int.random(in: 0..<reach, using: &random)
        spoilt[number][at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      for number in 0...1 {
        let accepted = attack.hit(
          receiver, spoilt[number], attack.packets[number].offsets, "round \(round)")
        if !accepted { break }
      }
    }
  }

  @Sendable private static func noise(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    var random = context.random("noise")
    let page = attack.shape.pageSize
    var sizes = Array(0...40) + [100, 255, 256, 257, page - 1, page, page + 1, 2 * page, 3 * page]
    sizes += (0..<context.rounds(300, quick: 30)).map { _ in
      Int.random(in: 0...(3 * page), using: &random)
    }
    for size in attack.affordable(sizes) {
      for after in 0...1 {
        let receiver = try attack.receiver(after: after)
        let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
        attack.hit(receiver, bytes, attack.packets[0].offsets, "\(size) bytes of noise")
      }
    }
  }

  /// The largest payloads that there are, full of one thing, behind every first byte; for as many
  /// pages as a packet can have, and for one.
  private static func extremes(_ context: Context, step: Int) throws(Stop) {
    let attack = try Attack(context)
    let all = attack.target.offsets
    // In haste the small ones, which most formats have their kinds in, and a fifth of the others.
    let firsts = attack.affordable(
      (0...255).filter {
        $0 % step == 0 && (step > 1 || !context.order.isQuick || $0 < 16 || $0 % 5 == 0)
      }.map { UInt8($0) })
    for first in firsts {
      let receiver = try attack.receiver(after: 0)
      let count = attack.shape.pageCount
      attack.hit(
        receiver, [UInt8](repeating: first, count: count), Array(all.prefix(count)),
        "\(count) bytes of \(first)")
    }
    for count in [attack.shape.pageCount, 1] {
      let size = min(attack.limit, attack.library.bound(attack.shape.pageSize, count))
      for (fill, name) in [(UInt8(0xff), "ones"), (0, "zeroes")] {
        for first in firsts {
          for after in 0...1 where after == 0 || first % 16 == fill % 16 {
            let receiver = try attack.receiver(after: after)
            var bytes = [UInt8](repeating: fill, count: size)
            if !bytes.isEmpty { bytes[0] = first }
            attack.hit(
              receiver, bytes, Array(all.prefix(count)),
              "\(size) bytes: \(first), then \(name)")
          }
        }
      }
    }
  }

  /// Numbers that a decoder might take for a length, anywhere in a payload.
  static func lies(_ attack: Attack) -> [UInt64] {
    let page = UInt64(attack.shape.pageSize)
    return [
      .max, UInt64(Int64.max), 1 << 63, UInt64(UInt32.max), 1 << 31, UInt64(Int32.max), 0xffff,
      0x8000, 0x7fff, 0xff, 0x80, 0, 1, page - 1, page + 1, UInt64(attack.limit) + 1,
    ]
  }

  /// The payload with a number of `width` bytes at `at`.
  static func lie(
    _ payload: [UInt8], at: Int, _ value: UInt64, width: Int, bigEndian: Bool
  ) -> [UInt8]? {
    guard at + width <= payload.count else { return nil }
    var spoilt = payload
    for byte in 0..<width {
      let shift = UInt64(bigEndian ? width - 1 - byte : byte) * 8
      spoilt[at + byte] = UInt8(truncatingIfNeeded: value >> shift)
    }
    return spoilt
  }

  @Sendable private static func lengthFields(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    var random = context.random("places")
    let all = lies(attack)
    for number in 0...1 {
      let packet = attack.packets[number]
      let most = context.rounds(64, quick: 16)
      var places = Array(0..<min(most, packet.payload.count))
      while places.count < 2 * most, packet.payload.count > most {
        places.append(Int.random(in: most..<packet.payload.count, using: &random))
      }
      for at in attack.affordable(places) {
        for width in [1, 2, 4, 8] {
          for _ in 0..<context.rounds(4, quick: 1) {
            let value = all.randomElement(using: &random)!
            let bigEndian = Bool.random(using: &random)
            guard
              let spoilt = lie(packet.payload, at: at, value, width: width, bigEndian: bigEndian)
            else { continue }
            let receiver = try attack.receiver(after: number)
            attack.hit(receiver, spoilt, packet.offsets, "\(value) at byte \(at)")
          }
        }
      }
    }
  }

  @Sendable private static func foreignPayload(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    let page = Array(attack.source.bytes(at: attack.source.offsets[0]))
    let offsets = Array(attack.source.offsets.prefix(2))
    for (name, bytes) in ForeignPayloads.all + [
      ("a raw page", page), ("two raw pages", page + page),
    ] {
      for after in 0...1 {
        let receiver = try attack.receiver(after: after)
        attack.hit(receiver, bytes, offsets, name)
      }
    }
  }

  @Sendable private static func replay(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    for number in 0...1 {
      let receiver = try attack.receiver(after: number + 1)
      let packet = attack.packets[number]
      let accepted = attack.hit(receiver, packet.payload, packet.offsets, "packet \(number) again")
      if attack.library.has(MULTIFD_CAP_INDEPENDENT) {
        context.check(
          accepted && attack.hasArrived(number),
          as: "order/independent-order", "a packet that comes a second time does not decode")
      }
    }
  }

  @Sendable private static func loss(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    let receiver = try attack.receiver(after: 0)
    let packet = attack.packets[1]
    // Stateful: an error, or other pages than were sent. Both are clean.
    let accepted = attack.hit(receiver, packet.payload, packet.offsets, "without the first packet")
    if attack.library.has(MULTIFD_CAP_INDEPENDENT) {
      context.check(
        accepted && attack.hasArrived(1), as: "order/independent-channel",
        "a packet does not decode without the one before")
    }
  }

  @Sendable private static func wrongChannel(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let lanes = try Lifecycle.makeLanes(context, shape, count: 2)
    var random = context.random("pages")
    // One has come further than the other.
    for id in [0, 1, 1, 1] { try lanes[id].pass(lanes[id].source.pick(8, &random)) }
    for round in 0..<context.rounds(40, quick: 10) {
      let packet = try lanes[round % 2].send(lanes[round % 2].source.pick(6, &random))
      let other = lanes[1 - round % 2]
      other.target.poison()
      // After a failure a host only cleans up; what came before shall not depend on it.
      if !other.receiver.receive(packet.payload, other.target, packet.offsets).isOK { break }
    }
  }

  @Sendable private static func repeatedOffset(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    let packet = attack.packets[0]
    for place in 0..<packet.offsets.count {
      let receiver = try attack.receiver(after: 0)
      let offsets = [UInt64](repeating: packet.offsets[place], count: packet.offsets.count)
      attack.hit(receiver, packet.payload, offsets, "the page at \(offsets[0]) again and again")
    }
  }
}
