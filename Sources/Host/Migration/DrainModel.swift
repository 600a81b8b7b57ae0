/// How fast what was given to a socket gets away: what is known of the link and of the far side's
/// decoders, from nothing but how long sends take. Times are nanoseconds, by byte.
///
///     sendmsg ── buffer ── link ── buffer ── decoder
///
/// A send that finds room takes its copy, the next one waits for room for three, so a single send
/// says nothing. From one that had to wait to another as much has left as was put in. How long
/// such a stretch took is compared with what it should have taken, and that moves the figures.
struct DrainModel {
  /// What becomes of a format's packets.
  private struct Format {
    /// Of a byte of the guest, at the far side; 0 until it was seen to be slower than the link.
    var decode = 0.0
    /// Bytes that have yet to get away at the link's rate. Until then what is slow is taken to be
    /// the decoder, from then on the link. More than what buffers hide; pages as they are need none.
    var unproven = DrainModel.proof
    /// Of the stretch: bytes of the guest, and as they were sent.
    var (bytes, payload) = (0.0, 0.0)
  }

  private static let proof = 16e6

  /// Of a byte sent: what every send pays, into an empty buffer too.
  private(set) var copy = LowPoint(0.25)
  /// Of a byte sent, while the link is full. Some 10 Gbit/s until it is known.
  private(set) var link = 0.25
  private var formats: [Format]
  private var idle = 0.05
  private var isKnown = false
  private var isAligned = false
  /// Of the stretch: how long it took, sends waited and the source was silent, and should have
  /// taken.
  private var (time, blocked, silent, predicted) = (0.0, 0.0, 0.0, 0.0)

  init(formats: Int) {
    self.formats = Array(repeating: Format(), count: formats + 1)
    self.formats[0].unproven = 0
  }

  /// Of a byte of the guest, at the far side.
  func decode(_ index: Int) -> Double { formats[index].decode }

  /// What it takes until so much has got through.
  func time(_ index: Int, bytes: Double, payload: Double) -> Double {
    max(payload * link, bytes * formats[index].decode)
  }

  /// A packet was sent, after so long.
  mutating func sent(
    _ index: Int, bytes: Double, payload: Double, after silent: Double, encoding: Double,
    sending: Double
  ) {
    let free = payload * copy.value * 2 + 20_000
    copy.take(sending / max(payload, 1))
    time += silent + encoding + sending
    self.silent += silent
    blocked += max(0, sending - free)
    predicted += self.time(index, bytes: bytes, payload: payload)
    formats[index].bytes += bytes
    formats[index].payload += payload
    let isFull = sending > free
    guard isFull && (time > 20e6 || !isAligned) || time > 100e6 else { return }
    // While the source is silent the buffer runs empty.
    if silent < time / 4 {
      if !isFull { search() } else if isAligned { learn() }
    }
    isAligned = isFull
    (time, blocked, self.silent, predicted) = (0, 0, 0, 0)
    for index in formats.indices { (formats[index].bytes, formats[index].payload) = (0, 0) }
  }

  /// Nothing has waited: the link may be faster than is known, and ever more so until a send waits.
  private mutating func search() {
    faster(1 - idle)
    idle = min(idle * 2, 0.75)
    isKnown = false
  }

  private mutating func learn() {
    idle = 0.05
    let error = time / predicted
    // Half of what the figures were is forgotten after 50 ms, and at once what was a guess.
    let step = 1 + (error - 1) * (isKnown ? time / (time + 50e6) : 1)
    if error < 1 {
      faster(step)
    } else {
      slower(1 + (step - 1) * min(1, 32 * blocked / time), error)
    }
    for index in formats.indices.dropFirst() {
      if error < 0.75, formats[index].payload == 0 {
        formats[index].unproven = Self.proof
      } else if error < 1.25, blocked > time / 8, formats[index].payload > 0 {
        formats[index].unproven -= max(formats[index].payload, Self.proof * time / 1e9)
      }
    }
    if error > 0.75, error < 1.25 { isKnown = true }
  }

  /// Whatever was thought to be slow is less so.
  private mutating func faster(_ step: Double) {
    link *= step
    for index in formats.indices { formats[index].decode *= step }
  }

  private mutating func slower(_ step: Double, _ error: Double) {
    let all = formats.reduce(0) { $0 + $1.bytes }
    var isLink = true
    if error > 1.25, isKnown {
      for index in formats.indices {
        let format = formats[index]
        guard format.unproven > 0, format.bytes > all / 4 else { continue }
        isLink = false
        formats[index].decode = max(format.decode, link * format.payload / format.bytes) * step
      }
    }
    if isLink { link *= step }
  }
}

/// What a figure is when nothing comes in between: the tenth part of its samples are lower.
struct LowPoint {
  private(set) var value: Double

  init(_ value: Double) { self.value = value }

  mutating func take(_ sample: Double) {
    value = max(0.01, value * (sample < value ? 1 - 0.9 / 16 : 1 + 0.1 / 16))
  }
}
