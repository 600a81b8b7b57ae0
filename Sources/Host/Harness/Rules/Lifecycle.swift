import CHarness
import Glibc
import PluginAPI

/// `lifecycle`: setup and cleanup, in any order of threads, and after failures.
enum Lifecycle {
  static let bodies: [String: Rules.Body] = [
    "lifecycle/setup-cleanup": setupCleanup, "lifecycle/cleanup-alone": cleanupAlone,
    "lifecycle/failed-setup": failedSetup, "lifecycle/unsupported": unsupported,
    "lifecycle/cycles": cycles, "lifecycle/both-sides": bothSides, "lifecycle/threads": threads,
    "lifecycle/after-error": afterError,
    // Output and ends of the process are seen from outside, whatever test they happen in; these two
    // do what a channel normally does, and give it the chance.
    "lifecycle/prints-nothing": everydayLife, "lifecycle/no-exit": everydayLife,
    "lifecycle/process-state": processState, "lifecycle/system-calls": SystemCalls.check,
    "lifecycle/at-exit": atExit, "lifecycle/prompt": ProcessorTime.ofSetup,
  ]

  /// As everyday life, and looked at in between: what is changed may not be so for a while either.
  @Sendable private static func processState(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 32)
    context.noteState()
    let lanes = try makeLanes(context, shape, count: 2)
    context.checkState("in setup")
    var random = context.random("order")
    for count in [32, 1, 0, 17, 32] {
      for lane in lanes { try lane.pass(lane.source.pick(count, &random)) }
      context.checkState("in a packet")
    }
    for lane in lanes { lane.close() }
    context.checkState("in cleanup")
    GlobalSymbols.check(context)
  }

  /// Ends a process that has used the backend as the host ends: with exit(), which runs what was
  /// registered for that.
  @Sendable private static func atExit(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with fork()") }
    try everydayLife(context)
    let capture = OutputCapture()
    let ended = inFork {
      alarm(10)
      exit(0)
    }
    let printed = capture.end()
    try context.require(ended != nil, "no process for it")
    let status = ended ?? 0
    context.check(status == 0, "exit() does not end the process in order (status \(status))")
    context.check(printed.isEmpty, "prints '\(printed)' when the process exits")
  }

  @Sendable private static func setupCleanup(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library)
    for _ in 0..<3 {
      let send = try SendDriver(context, shape)
      context.check(send.setup.isOK, "send_setup() returns \(send.setup)")
      send.close()
      let receive = try ReceiveDriver(context, shape)
      context.check(receive.setup.isOK, "recv_setup() returns \(receive.setup)")
      receive.close()
    }
  }

  @Sendable private static func cleanupAlone(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library)
    try SendDriver(context, shape, sets: false).close()
    try ReceiveDriver(context, shape, sets: false).close()
  }

  @Sendable private static func failedSetup(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    var allocations = [0, 0]
    for direction in 0...1 {
      for number in 0..<1000 {
        let status: CallStatus
        let count: Int
        if direction == 0 {
          let driver = try SendDriver(context, shape, failingAllocation: number)
          (status, count) = (driver.setup, driver.host.memory.allocationCount)
          driver.close()
        } else {
          let driver = try ReceiveDriver(context, shape, failingAllocation: number)
          (status, count) = (driver.setup, driver.host.memory.allocationCount)
          driver.close()
        }
        let name = direction == 0 ? "send_setup" : "recv_setup"
        if count <= number {
          context.check(status.isOK, "\(name)() returns \(status) although nothing failed")
          break
        }
        allocations[direction] += 1
        // Going on without that memory is fine, too; what is not, the guard pages show.
        if case .failed(let code, _) = status {
          context.check(
            code == MULTIFD_ERROR_NO_MEMORY,
            "\(name)() returns \(status) when allocation \(number) fails, not NO_MEMORY")
        }
      }
    }
    if allocations == [0, 0] { throw .skipped("alloc() is not used; see faults/address-space") }
  }

  @Sendable private static func unsupported(_ context: Context) throws(Stop) {
    let library = try context.library
    var tried = 0
    for log in 12...30 where library.bound(1 << log, 1) == 0 {
      tried += 1
      let shape = Shape(pageSize: 1 << log, pageCount: 1)
      for status in [
        try SendDriver(context, shape).setup, try ReceiveDriver(context, shape).setup,
      ] {
        context.check(
          !status.isOK, "setup accepts pages of \(1 << log), for which payload_bound() is 0")
      }
    }
    // Too much for the 32 bits of next_packet_size, but a host would ask payload_bound() first.
    if tried == 0 { throw .skipped("supports every page size") }
  }

  @Sendable private static func cycles(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 4).plain()
    let start = charness_now()
    try Lane(context, shape, pages: 6, label: "first", content: Lane.mix).close()
    let count = context.afford(context.rounds(1000, quick: 120), each: charness_now() - start)
    for cycle in 0..<count {
      let lane = try Lane(context, shape, pages: 6, label: "\(cycle)", content: Lane.mix)
      if cycle % 4 == 0 { try lane.pass(Array(lane.source.offsets.prefix(4))) }
      lane.close()
    }
  }

  @Sendable private static func bothSides(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let lanes = try makeLanes(context, shape, count: 4)
    var random = context.random("order")
    for _ in 0..<context.rounds(100, quick: 30) {
      let lane = lanes[Int.random(in: 0..<lanes.count, using: &random)]
      try lane.pass(lane.source.pick(Int.random(in: 1...16, using: &random), &random))
    }
    for lane in lanes.shuffled(using: &random) { lane.close() }
  }

  static func makeLanes(
    _ context: Context, _ shape: Shape, count: Int, options: [String: String]? = nil
  ) throws(Stop) -> [Lane] {
    var lanes: [Lane] = []
    for id in 0..<count {
      let lane = try Lane(
        context, shape.channel(id, of: count), options: options, label: "\(id)",
        content: context.manyPages)
      if count > 1 { lane.honestyRule = "isolation/interleaved" }
      lanes.append(lane)
    }
    return lanes
  }

  /// Each call in a thread of its own, which has ended before the next.
  @Sendable private static func threads(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let lane = Handover<Lane>()
    let ok = Handover<Bool>()
    concurrently(1) { _ in lane.value = try? Lane(context, shape, content: Lane.mix) }
    guard lane.value != nil else { throw .failed }
    for round in 0..<context.rounds(40, quick: 10) {
      concurrently(1) { _ in
        guard let lane = lane.value else { return }
        var random = context.random("\(round)")
        let offsets = lane.source.pick(1 + round % 16, &random)
        ok.value = (try? lane.pass(offsets)) != nil
      }
      guard ok.value == true else { throw .failed }
    }
    concurrently(1) { _ in lane.value?.close() }
  }

  /// A value that threads hand on: never used by two at once, since each is joined before the next.
  final class Handover<Value>: @unchecked Sendable {
    var value: Value?
  }

  @Sendable private static func afterError(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 8)
    var refused = 0
    for spoil in 0..<6 {
      let lane = try Lane(context, shape, label: "\(spoil)", content: Lane.mix)
      let packet = try lane.send(Array(lane.source.offsets.prefix(8)))
      var bytes = packet.payload
      switch spoil {
      case 0: bytes.removeAll()
      case 1: bytes.removeLast(bytes.count / 2)
      case 2: bytes += bytes
      default: bytes = bytes.map { $0 ^ UInt8(spoil * 37) }
      }
      if bytes.count > lane.sender.library.bound(shape.pageSize, shape.pageCount) {
        bytes.removeLast(bytes.count - lane.sender.library.bound(shape.pageSize, shape.pageCount))
      }
      if !lane.receiver.receive(bytes, lane.target, packet.offsets).isOK { refused += 1 }
      // Cleanup right after; the drivers see whether everything comes back.
      lane.receiver.close()
      // The send side knows of nothing.
      _ = try lane.send(Array(lane.source.offsets.prefix(3)))
      lane.close()
    }
    if refused == 0 { throw .skipped("takes any payload") }
  }

  @Sendable private static func everydayLife(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 32)
    let lanes = try makeLanes(context, shape, count: 2)
    var random = context.random("order")
    for count in [32, 1, 0, 17, 32] {
      for lane in lanes { try lane.pass(lane.source.pick(count, &random)) }
    }
    let packet = try lanes[0].send(lanes[0].source.pick(4, &random))
    _ = lanes[0].receiver.receive(
      Array(packet.payload.dropLast()), lanes[0].target, packet.offsets)
    for lane in lanes { lane.close() }
  }
}
