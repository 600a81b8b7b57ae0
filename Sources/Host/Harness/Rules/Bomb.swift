import CHarness
import PluginAPI

/// `hostile/bomb`: a payload that expands without end, or that says so, costs bounded memory.
enum Bomb {
  /// How much memory a bad payload may cost more than an honest one.
  private static let allowance = 48 << 20

  @Sendable static func check(_ context: Context) throws(Stop) {
    let attack = try Attack(context, pages: 128)
    // What expands most: as many zero pages as there are, for as few pages as there are.
    let zeroes = Block(
      pageSize: attack.shape.pageSize, pages: attack.shape.pageCount, kind: .source)
    let send = try SendDriver(context, attack.shape)
    let dense = send.prepare(zeroes, zeroes.offsets)
    try context.demand(dense.status, "send_prepare()")
    let honest = try attack.receiver(after: 2)
    let honestPeak = honest.host.memory.peak
    honest.close()
    var limit: UInt64?
    if charness_sanitized() == 0 {
      limit = charness_limit_data(UInt64(charness_data_size()) + 1 << 30)
    }
    defer { if let limit { _ = charness_limit_data(limit) } }
    charness_reset_peak()
    let before = charness_peak_resident()

    func drop(
      _ payload: [UInt8], for counts: [Int] = [1, 2], _ what: @autoclosure () -> String
    ) throws(Stop) {
      for count in counts {
        let receiver = try attack.receiver(after: 0)
        give(attack, count, receiver, payload, what())
        context.check(
          receiver.host.memory.peak <= honestPeak + allowance,
          "\(what()): takes \(receiver.host.memory.peak) bytes from alloc(), an honest payload \(honestPeak)"
        )
      }
      let now = charness_peak_resident()
      try context.require(
        now < before + allowance || charness_sanitized() != 0,
        "\(what()): resident memory grows by \((now - before) >> 20) MiB")
    }
    try drop(dense.bytes, "128 zero pages")
    var many: [UInt8] = []
    while !dense.bytes.isEmpty, many.count + dense.bytes.count <= attack.limit {
      many += dense.bytes
      if many.count > 1 << 17 { break }
    }
    try drop(many, "zero pages without end")
    for (name, bytes) in ForeignPayloads.all { try drop(bytes, name) }
    // Sizes that a decoder might believe.
    var random = context.random("places")
    for payload in [attack.packets[0].payload, dense.bytes] {
      for at in 0..<min(context.rounds(32, quick: 8), payload.count) {
        for width in [2, 4, 8] {
          for value in [UInt64(300 << 20), 0x7fff_ffff, 0xffff_ffff, 0xffff] {
            let big = Bool.random(using: &random)
            guard let spoilt = Hostile.lie(payload, at: at, value, width: width, bigEndian: big)
            else {
              continue
            }
            let counts = context.order.isQuick ? [1] : [1, 2]
            try drop(spoilt, for: counts, "\(value) at byte \(at)")
          }
        }
      }
    }
  }

  private static func give(
    _ attack: Attack, _ count: Int, _ receiver: ReceiveDriver, _ payload: [UInt8], _ what: String
  ) {
    guard payload.count <= attack.limit else { return }
    let offsets = Array(attack.target.offsets.prefix(count))
    attack.target.poison()
    let status = receiver.receive(payload, attack.target, offsets)
    if case .failed(MULTIFD_ERROR_NO_MEMORY, _) = status {
      attack.context.fail("\(what): the payload decides how much memory is asked for: \(status)")
    }
  }
}
