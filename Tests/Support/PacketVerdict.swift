/// Whether what others have seen of a guest fits what it remembers where it went on.
struct PacketVerdict {
  /// What had left the primary at the loss, and was released by then.
  let before: PacketWitness.Seen
  /// What the guest's memory says, where that could be looked at.
  let memory: GuestTable?
  /// What has left it at all: it may have gone on alone.
  let all: PacketWitness.Seen
  /// What the guest sent where it went on.
  let after: PacketWitness.Seen

  /// The last number of each kind that had left the primary.
  var released: [PacketWitness.Kind: Int] {
    Dictionary(before.packets.map { ($0.kind, $0.number) }, uniquingKeysWith: max)
  }

  /// Numbers that are missing between the first and the last of each kind.
  var missing: Int {
    PacketWitness.Kind.allCases.reduce(0) { sum, kind in
      let numbers = all.packets.filter { $0.kind == kind }.map(\.number)
      guard let first = numbers.min(), let last = numbers.max() else { return sum }
      return sum + last - first + 1 - Set(numbers).count
    }
  }

  /// Throws what does not fit.
  func judge() throws {
    if let memory {
      for (kind, number) in released where number > memory.sent[kind] ?? 0 {
        throw Inconsistency(
          "\(kind) packet \(number) had left, the guest remembers \(memory.sent[kind] ?? 0)")
      }
      guard before.echoed <= memory.echoed else {
        throw Inconsistency("answer \(before.echoed) had left, it remembers \(memory.echoed)")
      }
    }
    try expectOrder(all, "the primary's")
    try expectOrder(after, "the later")
    try expectNoOther()
  }

  /// Each number once, in order; some may be missing.
  private func expectOrder(_ seen: PacketWitness.Seen, _ whose: String) throws {
    var last: [PacketWitness.Kind: Int] = [:]
    for packet in seen.packets {
      if let number = last[packet.kind], packet.number <= number {
        throw Inconsistency("\(whose) \(packet.kind) packet \(packet.number) came after \(number)")
      }
      last[packet.kind] = packet.number
    }
  }

  /// A number that was seen of both is one and the same packet: the guest that went on may do again
  /// what it was at, and nothing else.
  private func expectNoOther() throws {
    struct Key: Hashable {
      let kind: PacketWitness.Kind
      let number: Int
    }
    let nonces = Dictionary(
      before.packets.map { (Key(kind: $0.kind, number: $0.number), $0.nonce) },
      uniquingKeysWith: { $1 })
    for packet in after.packets {
      let nonce = nonces[Key(kind: packet.kind, number: packet.number)]
      guard nonce == nil || nonce == packet.nonce else {
        throw Inconsistency(
          "\(packet.kind) packet \(packet.number) was sent twice, with other data")
      }
    }
  }
}
