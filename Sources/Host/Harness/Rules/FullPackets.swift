import CHarness
import PluginAPI

/// `hostile/extremes` with packets as large as they come, on a stack as small as the contract has
/// it: what a decoder does for every byte of a payload it does half a million times there, and what it
/// does for every pair of them a hundred thousand million times.
enum FullPackets {
  static func attack(_ context: Context, inBrief: Bool = false) throws(Stop) {
    // A sanitizer needs stack itself.
    guard charness_sanitized() == 0 else { return try hit(context, inBrief) }
    var failure: Stop?
    let error = onStack(Bounds.stackSize) {
      do throws(Stop) { try hit(context, inBrief) } catch { failure = error }
    }
    try context.require(error == 0, "no thread for it")
    if let failure { throw failure }
  }

  private static func hit(_ context: Context, _ inBrief: Bool) throws(Stop) {
    let attack = try Attack(context, pages: 128, room: 128)
    let size = min(
      attack.limit, attack.library.bound(attack.shape.pageSize, attack.shape.pageCount))
    let all = Array(attack.target.offsets.prefix(attack.shape.pageCount))
    func give(_ bytes: [UInt8], _ pages: [UInt64], _ what: @autoclosure () -> String) throws(Stop) {
      // Each takes long, and enough has been told.
      if context.reporter.count("hostile/time") > 2 { throw .failed }
      attack.hit(try attack.receiver(after: 0), bytes, pages, what())
    }
    // In haste the small ones, which most formats have their kinds in, and a few of the others.
    let step = context.order.isQuick || inBrief ? 24 : 3
    for byte in attack.affordable(
      (0...255).filter { $0 % step == 0 || $0 < (step > 3 ? 8 : 32) }.map { UInt8($0) })
    {
      try give([UInt8](repeating: byte, count: size), all, "\(size) bytes of \(byte)")
      guard byte % UInt8(context.rounds(24, quick: 48)) == 0 else { continue }
      for fill in [UInt8(0xff), 0] {
        var bytes = [UInt8](repeating: fill, count: size)
        if !bytes.isEmpty { bytes[0] = byte }
        try give(bytes, all, "\(size) bytes: \(byte), then \(fill)")
        try give(bytes, Array(all.prefix(1)), "\(size) bytes: \(byte), then \(fill), for a page")
      }
    }
    try spoil(attack, all)
  }

  /// An honest packet of all pages with some bits turned over, and without its end.
  private static func spoil(_ attack: Attack, _ all: [UInt64]) throws(Stop) {
    let context = attack.context
    let send = try SendDriver(context, attack.shape)
    let honest = send.prepare(attack.source, all)
    try context.demand(honest.status, "send_prepare()")
    guard honest.bytes.count <= attack.limit else { return }
    var random = context.random("full")
    for round in attack.affordable(Array(0..<context.rounds(60, quick: 6))) {
      var bytes = honest.bytes
      for _ in 0...round % 3 {
        guard let at = bytes.indices.randomElement(using: &random) else { break }
        bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      if round % 4 == 3 { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
      attack.hit(try attack.receiver(after: 0), bytes, all, "round \(round) of a full packet")
    }
  }
}
