/// Spoils payloads: with what formats are made of in mind (lengths, headers, pieces that repeat),
/// and at random.
struct Mutator {
  var random: Seeded
  /// Payloads to take pieces from.
  var corpus: [[UInt8]]
  /// Numbers that might be taken for a length.
  let lies: [UInt64]
  /// No payload gets longer.
  let limit: Int

  /// One to four changes.
  mutating func spoil(_ payload: [UInt8]) -> [UInt8] {
    var bytes = payload
    for _ in 0...Int.random(in: 0..<4, using: &random) { change(&bytes) }
    if bytes.count > limit { bytes.removeLast(bytes.count - limit) }
    return bytes
  }

  /// A place; the front more often, where formats keep what they rely on.
  private mutating func place(_ count: Int) -> Int {
    let reach = Bool.random(using: &random) ? count : min(count, 32)
    return Int.random(in: 0..<reach, using: &random)
  }

  private mutating func piece(_ count: Int) -> Range<Int> {
    let start = place(count)
    let most = min(count - start, Bool.random(using: &random) ? 16 : count)
    return start..<start + Int.random(in: 1...most, using: &random)
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    guard !bytes.isEmpty else {
      bytes = corpus.randomElement(using: &random) ?? [0]
      return
    }
    switch random.next() % 12 {
    case 0, 1: bytes[place(bytes.count)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 2: bytes[place(bytes.count)] = UInt8.random(in: 0...255, using: &random)
    case 3: bytes[place(bytes.count)] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random)!
    case 4, 5:
      let at = place(bytes.count)
      let width = [1, 2, 4, 8].randomElement(using: &random)!
      let value = lies.randomElement(using: &random)!
      let big = Bool.random(using: &random)
      bytes = Hostile.lie(bytes, at: at, value, width: width, bigEndian: big) ?? bytes
    case 6: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
    case 7: bytes.removeSubrange(piece(bytes.count))
    case 8:
      let copy = Array(bytes[piece(bytes.count)])
      bytes.insert(contentsOf: copy, at: place(bytes.count))
    case 9:
      // The front of one, the rest of another.
      guard let other = corpus.randomElement(using: &random), !other.isEmpty else { return }
      let cut = place(bytes.count)
      bytes = Array(bytes[..<cut]) + other[min(cut, other.count - 1)...]
    case 10:
      guard let other = corpus.randomElement(using: &random), !other.isEmpty else { return }
      let from = piece(other.count)
      let at = place(bytes.count)
      bytes.replaceSubrange(at..<min(bytes.count, at + from.count), with: other[from])
    default:
      let at = place(bytes.count)
      let step = Int.random(in: -35...35, using: &random)
      bytes[at] = UInt8(truncatingIfNeeded: Int(bytes[at]) + step)
    }
  }
}
