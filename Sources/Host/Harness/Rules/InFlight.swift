import CHarness
import CProcessState
import Glibc
import PluginAPI
import PluginLoader

/// `flight`: several packets of a channel at a time. What a packet is held to besides is in all the
/// other groups, which have one in flight.
enum InFlight {
  static let bodies: [String: Rules.Body] = [
    "flight/order": order, "flight/cleanup": cleanup, "flight/failure": failure,
    "flight/channels": channels,
  ]

  /// - Throws: when the backend has one packet at a time, in both directions.
  private static func library(_ context: Context) throws(Stop) -> Library {
    let library = try context.library
    guard library.methods.send_submit != nil || library.methods.recv_submit != nil else {
      throw .skipped("it has one packet of a channel at a time")
    }
    return library
  }

  /// As many in flight as can be, fewer, and one: each packet is complete when it is said to be, and
  /// is itself.
  @Sendable private static func order(_ context: Context) throws(Stop) {
    let library = try library(context)
    let shape = Shape(library, pages: 24)
    let most = try max(library.side(.send).depth(.send), library.side(.receive).depth(.receive))
    let rounds = context.rounds(40, quick: 8)
    for window in Set([1, 2, most / 2, most]).filter({ $0 > 0 }).sorted() {
      let convoy = try Convoy(context, shape, label: "order")
      var random = context.random("cargo")
      let cargo = convoy.load(rounds + 2 * most, &random)
      let packets = try convoy.send(cargo, window: window)
      try convoy.deliver(packets, cargo, window: window)
      if window == most, most > 1 {
        let few = Array(cargo.prefix(3 * most))
        try convoy.deliver(
          convoy.send(few, window: most, rests: true), few, window: most, rests: true)
      }
      convoy.close()
      guard window > 1, library.has(MULTIFD_CAP_DETERMINISTIC), library.has(.send) else { continue }
      let alone = try Convoy(context, shape, label: "order")
      let same = try alone.send(cargo, window: 1)
      context.check(
        zip(packets, same).allSatisfy { $0.payload == $1.payload },
        "packets in flight have other bytes than packets one at a time")
      alone.close()
    }
  }

  /// Cleanup with packets that were submitted and not completed.
  @Sendable private static func cleanup(_ context: Context) throws(Stop) {
    let library = try library(context)
    let shape = Shape(library, pages: 24)
    let most = try max(library.side(.send).depth(.send), library.side(.receive).depth(.receive))
    var random = context.random("cargo")
    let threads = Int(process_state_threads())
    for round in 0..<24 {
      let convoy = try Convoy(context, shape, label: "\(round)")
      let count = 1 + round % most
      let cargo = convoy.load(most + 1, &random)
      let packets = try convoy.send(cargo, window: most)
      for item in cargo.prefix(min(count, convoy.sender.depth)) { try convoy.submit(item) }
      for (packet, item) in zip(packets, cargo).prefix(min(count, convoy.receiver.depth)) {
        try context.demand(convoy.take(packet, item), "recv_submit() of an honest packet")
      }
      convoy.close()
      convoy.forbid()
      // Whoever still works on a page meets the protection now, however long it has to wait for a
      // processor. Where all threads have ended nobody does.
      let deadline = charness_now() + 100_000_000
      while Int(process_state_threads()) > threads, charness_now() < deadline { usleep(200) }
    }
  }

  /// A payload that breaks off, behind good ones and in front of others.
  @Sendable private static func failure(_ context: Context) throws(Stop) {
    let library = try library(context)
    let depth = library.has(.receive) ? library.depth(.receive) : 1
    guard library.methods.recv_submit != nil else {
      throw .skipped("it decodes one packet at a time")
    }
    let shape = Shape(library, pages: 24)
    let convoy = try Convoy(context, shape)
    var random = context.random("cargo")
    let cargo = convoy.load(depth, &random)
    let packets = try convoy.send(cargo, window: depth)
    for bad in 0..<depth {
      for cut in [1, packets[bad].payload.count / 2] where cut > 0 {
        try failure(context, convoy, packets, cargo, bad: bad, cut: cut)
        // What is in flight behind it is let go of by cleanup.
        try convoy.renewReceiver()
        convoy.forbid()
      }
    }
    convoy.close()
  }

  private static func failure(
    _ context: Context, _ convoy: Convoy, _ packets: [Packet], _ cargo: [Convoy.Cargo], bad: Int,
    cut: Int
  ) throws(Stop) {
    for (number, (packet, item)) in zip(packets, cargo).enumerated() {
      let announced = packet.payload.count - (number == bad ? cut : 0)
      let status = convoy.take(packet, item, announced: announced)
      if status.isOK { continue }
      // Refused at once: the host only cleans up, with the others in flight.
      try context.require(
        number >= bad, "recv_submit() of packet \(number) returns \(status), packet \(bad) is bad")
      return
    }
    for number in 0..<bad { try convoy.arrive(cargo[number]) }
    context.check(
      !convoy.receiver.complete().isOK,
      "a payload that lacks its last \(cut) bytes is accepted among packets in flight")
  }

  /// Channels in threads of their own, each with packets in flight.
  @Sendable private static func channels(_ context: Context) throws(Stop) {
    let library = try library(context)
    let shape = Shape(library, pages: 16)
    let count = 4, rounds = context.rounds(60, quick: 12)
    concurrently(count) { id in
      do throws(Stop) {
        let convoy = try Convoy(context, shape.channel(id, of: count), label: "\(id)")
        var random = context.random("cargo\(id)")
        let cargo = convoy.load(rounds, &random)
        for start in stride(from: 0, to: rounds, by: 12) {
          let part = Array(cargo[start..<min(start + 12, rounds)])
          try convoy.deliver(try convoy.send(part, window: .max), part, window: .max)
        }
        convoy.close()
      } catch {
        // Reported where it was seen.
      }
    }
  }
}
