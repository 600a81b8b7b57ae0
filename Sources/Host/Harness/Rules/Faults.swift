import CHarness
import Glibc
import PluginAPI

/// `faults`: memory and connection fail at every point.
enum Faults {
  static let bodies: [String: Rules.Body] = [
    "faults/allocation": allocation, "faults/address-space": addressSpace,
    "faults/read-fails": readFails, "faults/connection-lost": connectionLost,
    "faults/slow-connection": slowConnection,
  ]

  @Sendable private static func allocation(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    var used = false
    for number in 0..<200 {
      let send = try SendDriver(context, attack.shape)
      send.host.memory.failingAllocation = send.host.memory.allocationCount + number
      let payload = send.prepare(attack.source, attack.packets[0].offsets)
      let mine = send.host.memory.allocationCount > (send.host.memory.failingAllocation ?? 0)
      judge(payload.status, failed: mine, "send_prepare", context)
      let receive = try ReceiveDriver(context, attack.shape)
      receive.host.memory.failingAllocation = receive.host.memory.allocationCount + number
      let packet = attack.packets[0]
      let status = receive.receive(packet.payload, attack.target, packet.offsets)
      let theirs =
        receive.host.memory.allocationCount > (receive.host.memory.failingAllocation ?? 0)
      judge(status, failed: theirs, "recv", context)
      used = used || mine || theirs
      if !mine, !theirs { break }
    }
    if !used, !context.hasFailed { throw .skipped("packets allocate nothing") }
  }

  private static func judge(
    _ status: CallStatus, failed: Bool, _ callback: String, _ context: Context
  ) {
    guard case .failed(let code, _) = status, code != 0 else { return }
    context.check(
      failed && code == MULTIFD_ERROR_NO_MEMORY,
      "\(callback)() returns \(status) "
        + (failed ? "when an allocation fails, not NO_MEMORY" : "although nothing failed"))
  }

  /// What the backend takes past the services: the kernel refuses to map more than a little.
  @Sendable private static func addressSpace(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with it") }
    let library = try context.library
    let count = library.supports(library.pageSize, 1000) ? 1000 : 64
    let shape = Shape(pageSize: library.pageSize, pageCount: count).plain()
    let source = Block(pageSize: shape.pageSize, pages: 12, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: 12, kind: .target)
    var random = context.random("content")
    source.fill(.text, &random)
    keepSmallMemory()
    for spare in [1, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 32 << 20, 512 << 20] {
      let send = try SendDriver(context, shape, sets: false)
      let receive = try ReceiveDriver(context, shape, sets: false)
      charness_limit_address_space(UInt64(spare))
      send.setUp()
      receive.setUp()
      charness_limit_address_space(0)
      judge(send.setup, failed: true, "send_setup", context)
      judge(receive.setup, failed: true, "recv_setup", context)
      if send.setup.isOK, receive.setup.isOK {
        charness_limit_address_space(UInt64(spare))
        let payload = send.prepare(source, source.offsets)
        let status = receive.receive(payload.bytes, target, source.offsets)
        charness_limit_address_space(0)
        judge(payload.status, failed: true, "send_prepare", context)
        if payload.status.isOK { judge(status, failed: true, "recv", context) }
      }
      send.close()
      receive.close()
    }
  }

  /// Leaves free memory in small pieces, so that this process itself gets by while there is no more
  /// to be had.
  private static func keepSmallMemory() {
    let pieces = (0..<64).map { _ in malloc(16 << 10) }
    // The one at the end keeps the rest from being given back to the kernel; never freed.
    _ = malloc(64)
    for piece in pieces { free(piece) }
  }

  @Sendable private static func readFails(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    for failure in [MULTIFD_ERROR_CHANNEL, -77] {
      for (number, packet) in attack.packets.enumerated() {
        for read in 0..<50 {
          let receiver = try attack.receiver(after: number)
          receiver.host.failingRead = (read, failure)
          let status = receiver.receive(packet.payload, attack.target, packet.offsets)
          guard receiver.host.hasFailedService else { break }
          guard case .failed(let code, let text) = status else { continue }
          context.check(
            code == failure,
            "read \(read) fails with \(failure), recv() returns \(CallStatus.name(code))")
          context.check(
            text.isEmpty, "recv() adds '\(clean(text))' to the host's own error")
        }
      }
    }
  }

  @Sendable private static func connectionLost(_ context: Context) throws(Stop) {
    let attack = try Attack(context)
    var random = context.random("places")
    for (number, packet) in attack.packets.enumerated() {
      for cut in attack.affordable(
        attack.places(packet.payload.count, most: context.rounds(6000, quick: 100), &random))
      {
        let receiver = try attack.receiver(after: number)
        let status = receiver.receive(
          Array(packet.payload[..<cut]), announced: packet.payload.count, attack.target,
          packet.offsets)
        guard case .failed(let code, _) = status else {
          // recv() has not read everything, or says OK after a failure: told under those rules.
          continue
        }
        context.check(
          code == MULTIFD_ERROR_CHANNEL,
          "the connection ends at byte \(cut), recv() returns \(CallStatus.name(code))")
      }
    }
  }

  /// Through a pipe, in small pieces, with a signal every millisecond: what a socket may do to a
  /// reader.
  @Sendable private static func slowConnection(_ context: Context) throws(Stop) {
    let lane = try Lane(context, Shape(try context.library, pages: 16), content: Lane.mix)
    var old = sigaction()
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(SIGALRM, &action, &old)
    let clock = __itimer_which_t(ITIMER_REAL.rawValue)
    var timer = itimerval()
    timer.it_interval.tv_usec = 1000
    timer.it_value.tv_usec = 1000
    setitimer(clock, &timer, nil)
    defer {
      var none = itimerval()
      setitimer(clock, &none, nil)
      sigaction(SIGALRM, &old, nil)
    }
    var random = context.random("pages")
    for round in 0..<context.rounds(20, quick: 6) {
      let packet = try lane.send(lane.source.pick(8, &random))
      var ends: [Int32] = [-1, -1]
      try context.require(pipe(&ends) == 0, "no pipe")
      let (reader, writer) = (ends[0], ends[1])
      let bytes = packet.payload
      let step = 1 + bytes.count / 40 + round % 7
      let thread = Thread {
        for at in stride(from: 0, to: bytes.count, by: step) {
          let piece = Array(bytes[at..<min(at + step, bytes.count)])
          piece.withUnsafeBytes { _ = writeAll(writer, $0) }
          usleep(50)
        }
        close(writer)
      }
      lane.receiver.host.pipe = reader
      defer {
        lane.receiver.host.pipe = nil
        thread.join()
        close(reader)
      }
      try lane.deliver(packet)
    }
  }
}
