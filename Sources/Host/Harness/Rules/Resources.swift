import CHarness
import CProcessState
import Glibc
import PluginAPI
import PluginLoader

/// `resources`: what was taken is given back.
enum Resources {
  static let bodies: [String: Rules.Body] = [
    "resources/services-memory": servicesMemory, "resources/memory-channels": memoryChannels,
    "resources/memory-packets": memoryPackets, "resources/descriptors": descriptors,
    "resources/threads": threads, "resources/peak": peak,
    "resources/memory-failures": memoryFailures, "resources/memory-threads": memoryThreads,
    "resources/processor-time": ProcessorTime.ofPackets,
  ]

  /// Channels with packets, without, and after a failure; the drivers look at what is left.
  @Sendable private static func servicesMemory(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    var random = context.random("pages")
    for round in 0..<context.rounds(40, quick: 10) {
      let lane = try Lane(context, shape, label: "\(round)", content: Lane.mix)
      for _ in 0..<round % 5 { try lane.pass(lane.source.pick(8, &random)) }
      if round % 3 == 0 {
        let packet = try lane.send(lane.source.pick(8, &random))
        _ = lane.receiver.receive(Array(packet.payload.dropLast()), lane.target, packet.offsets)
      }
      lane.close()
    }
  }

  private static let parts = 5

  /// Runs `body` in five parts of `count` rounds. The first is for everything that is only made
  /// once; a leak shows in all of the others.
  ///
  /// - Parameters:
  ///   - least: bytes of malloc() in a part that count as growth: what the harness itself has in use
  ///     is not always the same.
  ///   - held: what is taken from alloc() at the moment.
  private static func watch(
    _ context: Context, _ noun: String, count: Int, least: Int, held: () -> Int = { 0 },
    _ body: (Int) throws(Stop) -> Void
  ) throws(Stop) {
    var inUse: [Int] = [], data: [Int] = [], taken: [Int] = []
    inUse.reserveCapacity(parts)
    data.reserveCapacity(parts)
    taken.reserveCapacity(parts)
    for part in 0..<parts {
      // In a thread that ends: free memory that malloc() keeps for a thread counts as in use, and
      // would be more and more for a while.
      try inThread { () throws(Stop) in
        for round in 0..<count { try body(part * count + round) }
      }
      inUse.append(charness_malloc_in_use())
      data.append(charness_data_size())
      taken.append(held())
    }
    // What malloc() and alloc() have given out is known to the byte; whole pages and arenas of the
    // process come once and are no leak.
    for (what, values, smallest) in [
      ("alloc()", taken, 1), ("malloc()", inUse, least),
      ("the process's data", data, max(count * 64, 96 << 10)),
    ] {
      let growth = zip(values, values.dropFirst()).map { $1 - $0 }
      if growth.allSatisfy({ $0 >= smallest }) {
        context.fail("\(what): \(growth.last!) bytes more after \(count) more \(noun), every time")
        return
      }
    }
  }

  @Sendable private static func memoryChannels(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer keeps what is freed") }
    let library = try context.library
    let shape = Shape(library, pages: 2).plain()
    let source = Block(pageSize: shape.pageSize, pages: 2, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: 2, kind: .target)
    let start = charness_now()
    try SendDriver(context, shape).close()
    try ReceiveDriver(context, shape).close()
    let count = context.afford(
      context.isRepeated ? 20 : context.rounds(400, quick: 48), times: parts,
      each: charness_now() - start)
    try watch(context, "channels", count: count, least: 16 * count) { round throws(Stop) in
      let send = try SendDriver(context, shape)
      let receive = try ReceiveDriver(context, shape)
      if round % 2 == 0 {
        let payload = send.prepare(source, source.offsets)
        _ = receive.receive(payload.bytes, target, source.offsets)
        _ = receive.receive([1, 2, 3], target, source.offsets)
      }
      send.close()
      receive.close()
    }
  }

  @Sendable private static func memoryPackets(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer keeps what is freed") }
    let shape = Shape(try context.library, pages: 16).plain()
    let lane = try Lane(context, shape, content: Lane.light)
    var random = context.random("pages")
    let count = context.rounds(5000, quick: 300)
    try watch(
      context, "packets", count: count, least: count / 8,
      held: { lane.sender.host.memory.allocated + lane.receiver.host.memory.allocated }
    ) { round throws(Stop) in
      // The driver keeps the last payload: an empty one, when memory is looked at.
      if round % count == count - 1 { return try lane.pass([]) }
      // It is packets that count.
      let most = Int.random(in: 0..<4, using: &random) == 0 ? 4 : 1
      try lane.pass(lane.source.pick(Int.random(in: 0...most, using: &random), &random))
    }
    try fullPackets(context)
    try inFlight(context)
    try context.require(
      lane.sender.host.memory.liveCount < 1000 && lane.receiver.host.memory.liveCount < 1000,
      "\(lane.sender.host.memory.liveCount) pieces of alloc() are held after some packets")
    lane.close()
  }

  /// As many pages as a packet can have, with a reference for every other one where that is of use:
  /// what is taken for pages beyond some number, or for an image.
  private static func fullPackets(_ context: Context) throws(Stop) {
    let library = try context.library
    let lane = try Lane(context, Shape(library).plain(), label: "full", .sparse)
    var random = context.random("images")
    let pages = lane.source.pick(lane.sender.shape.pageCount, &random)
    let image =
      library.has(MULTIFD_CAP_REFERENCE)
      ? Block(referenceOf: lane.source, pages, &random) { _ in .close } : nil
    let count = context.rounds(16, quick: 4)
    try watch(
      context, "full packets", count: count, least: 16 * count,
      held: { lane.sender.host.memory.allocated + lane.receiver.host.memory.allocated }
    ) { round throws(Stop) in
      if round % count == count - 1 { return try lane.pass([]) }
      try lane.pass(pages, reference: round % 2 == 0 ? image : nil)
    }
    lane.close()
  }

  /// Several packets in flight, over and over.
  private static func inFlight(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.depth(.send) > 1 || library.depth(.receive) > 1 else { return }
    let convoy = try Convoy(context, Shape(library, pages: 16).plain(), label: "flight")
    var random = context.random("cargo")
    let refers = library.has(MULTIFD_CAP_REFERENCE)
    let cargo = convoy.load(2 * max(convoy.sender.depth, convoy.receiver.depth), &random)
    let count = context.rounds(40, quick: 8)
    try watch(
      context, "packets in flight", count: count, least: 16 * count,
      held: { convoy.sender.host.memory.allocated + convoy.receiver.host.memory.allocated }
    ) { round throws(Stop) in
      // The driver keeps each slot's last payload: small ones, when memory is looked at.
      let isLast = round % count == count - 1
      let load = isLast ? cargo.map { $0.first } : cargo
      let with = refers && round % 2 == 0 && !isLast ? convoy.refer(load, &random) : load
      try convoy.deliver(try convoy.send(with, window: .max), with, window: .max)
    }
    convoy.close()
  }

  /// A failure of each kind, over and over: setup without memory, a payload that is none, a read
  /// that fails.
  @Sendable private static func memoryFailures(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer keeps what is freed") }
    let shape = Shape(try context.library, pages: 4).plain()
    let lane = try Lane(context, shape, pages: 4, content: Lane.mix)
    let packet = try lane.send(lane.source.offsets)
    let kinds: [(String, () throws(Stop) -> Void)] = [
      (
        "setups that failed",
        { () throws(Stop) in
          // That it survives this is another test's.
          charness_blame("lifecycle/failed-setup")
          defer { charness_blame(nil) }
          try SendDriver(context, shape, failingAllocation: 0).close()
          try ReceiveDriver(context, shape, failingAllocation: 0).close()
        }
      ),
      (
        "payloads that were refused",
        { () throws(Stop) in
          let receiver = try ReceiveDriver(context, shape)
          _ = receiver.receive(Array(packet.payload.dropLast()), lane.target, packet.offsets)
          receiver.close()
        }
      ),
      (
        "reads that failed",
        { () throws(Stop) in
          let receiver = try ReceiveDriver(context, shape)
          receiver.host.failingRead = (0, MULTIFD_ERROR_CHANNEL)
          _ = receiver.receive(packet.payload, lane.target, packet.offsets)
          receiver.close()
        }
      ),
    ]
    let start = charness_now()
    try ReceiveDriver(context, shape).close()
    let count = context.afford(
      context.rounds(400, quick: 32), times: parts * kinds.count, each: charness_now() - start)
    for (noun, body) in kinds {
      try watch(context, noun, count: count, least: 16 * count) { _ throws(Stop) in
        try body()
      }
    }
    lane.close()
  }

  /// Every packet in a thread of its own: what is kept for a thread goes with it.
  @Sendable private static func memoryThreads(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer keeps what is freed") }
    let shape = Shape(try context.library, pages: 4).plain()
    let lane = try Lane(context, shape, pages: 4, content: Lane.light)
    let count = context.rounds(200, quick: 40)
    try watch(context, "threads", count: count, least: 16 * count) { round throws(Stop) in
      concurrently(1) { _ in _ = try? lane.pass(Array(lane.source.offsets.prefix(1 + round % 4))) }
      if context.hasFailed { throw .failed }
    }
    lane.close()
  }

  @Sendable private static func descriptors(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    let before = openDescriptors()
    for round in 0..<(context.isRepeated ? 2 : 8) {
      let lane = try Lane(context, shape, label: "\(round)", content: Lane.mix)
      for count in [4, 1] { try lane.pass(Array(lane.source.offsets.prefix(count))) }
      if round % 2 == 0 {
        _ = lane.receiver.receive([1, 2, 3], lane.target, [0])
      } else {
        let packet = try lane.send(Array(lane.source.offsets.prefix(3)))
        lane.receiver.host.failingRead = (0, MULTIFD_ERROR_CHANNEL)
        _ = lane.receiver.receive(packet.payload, lane.target, packet.offsets)
      }
      lane.close()
    }
    let left = openDescriptors().subtracting(before)
    context.check(
      left.isEmpty, "\(left.count) descriptors are open that were not before some channels")
  }

  @Sendable private static func threads(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    let before = process_state_threads()
    for round in 0..<(context.isRepeated ? 1 : 4) {
      let lane = try Lane(context, shape, label: "\(round)", content: Lane.mix)
      for count in [8, 1] { try lane.pass(Array(lane.source.offsets.prefix(count))) }
      lane.close()
    }
    let more = process_state_more_threads(before)
    context.check(more <= 0, "\(more) threads run on after cleanup")
  }

  /// Memory of one channel at QEMU's sizes, from alloc() and from malloc().
  @Sendable private static func peak(_ context: Context) throws(Stop) {
    let library = try context.library
    let shape = Shape(library).plain()
    let source = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .target)
    var random = context.random("content")
    source.fill(.ram, &random)
    let start = charness_malloc_in_use()
    let send = try SendDriver(context, shape)
    try context.require(send.setup.isOK, "send_setup() returns \(send.setup)")
    let middle = charness_malloc_in_use()
    let receive = try ReceiveDriver(context, shape)
    try context.require(receive.setup.isOK, "recv_setup() returns \(receive.setup)")
    let end = charness_malloc_in_use()
    // What is taken at the first packet counts as well. The harness keeps the last payload of a
    // channel: an empty one, when memory is looked at.
    var payloads: [[UInt8]] = []
    for _ in 0..<context.rounds(4, quick: 2) {
      let payload = send.prepare(source, source.offsets)
      try context.demand(payload.status, "send_prepare()")
      payloads.append(payload.bytes)
    }
    try context.demand(send.prepare(source, []).status, "send_prepare()")
    let held = payloads.reduce(0) { $0 + $1.capacity }
    let sending = charness_malloc_in_use() - held
    for payload in payloads {
      let status = receive.receive(payload, target, source.offsets)
      try context.require(status.isOK, "recv() returns \(status)")
    }
    let receiving = charness_malloc_in_use() - held
    // alloc() is malloc() here, so the second figure holds the first; packets may have added to
    // alloc().
    let sent = max(send.host.memory.peak, middle - start + max(0, sending - end)),
      received = max(receive.host.memory.peak, end - middle + max(0, receiving - sending))
    context.measure("memory.send", Double(sent), "bytes")
    context.measure("memory.recv", Double(received), "bytes")
    for (what, bytes) in [("send", sent), ("receive", received)] {
      context.check(
        bytes <= ChannelMemory.limit,
        "the \(what) side takes \(bytes) bytes, a host gives \(ChannelMemory.limit)")
    }
  }
}
