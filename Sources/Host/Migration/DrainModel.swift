/// How fast what was given to a socket gets away: what is known of the link and of the far side's
/// decoders, from how long sends take. Times are nanoseconds; figures are nanoseconds a byte.
///
///     sendmsg ── buffer ── link ── buffer ── decoder
///
/// One send finds room and takes its copy, the next one waits for megabytes to leave, so a single
/// send says nothing. But when a send that had to wait returns, the buffer is full. So from one of
/// them to another, a *stretch*, as much has left as was put in. How long it took is compared with
/// how long it should have taken, and that moves the figures.
struct DrainModel: Sendable {
  /// What becomes of a format's packets.
  private struct Format {
    /// Of a byte of the guest, at the far side; 0 until its decoder was seen to hold us up.
    var decode = 0.0
    /// Of the stretch: bytes of the guest.
    var bytes = 0.0
    /// Of the stretch: bytes as they were sent.
    var payload = 0.0
  }

  /// Of a byte sent: what every send pays, into an empty buffer too. A gigabyte a second at least: on
  /// a slow link a small buffer makes every send wait.
  private(set) var copy = LowPoint(0.25, most: 1)
  /// Of a byte sent, while the link is full. None is faster than this until it is known.
  private(set) var link = 0.25
  private var formats: [Format]
  /// The link has been full lately, and took what it was expected to take.
  private var isKnown = false
  /// What the link is taken to have gained by the end of a stretch in which nothing waited.
  private var hope = 0.4
  /// Of the stretch: it began with a full buffer.
  private var isAligned = false
  private var time = 0.0
  private var blocked = 0.0
  private var silent = 0.0
  private var predicted = 0.0

  init(formats: Int) { self.formats = Array(repeating: Format(), count: formats + 1) }

  /// Of a byte of the guest, at the far side.
  func decode(_ index: Int) -> Double { formats[index].decode }

  /// What it takes until so much has got through.
  func time(_ index: Int, bytes: Double, payload: Double) -> Double {
    max(payload * link, bytes * formats[index].decode)
  }

  /// A packet was sent.
  ///
  /// - Parameters:
  ///   - silent: how long the source had nothing to send.
  ///   - busy: how long the thread took from there to the send.
  ///   - sending: how long the send took.
  ///   - isShut: whether the far side's window is shut, for it does not read: asked for now and
  ///     then.
  mutating func sent(
    _ index: Int, bytes: Double, payload: Double, silent: Double, busy: Double, sending: Double,
    isShut: () -> Bool
  ) {
    let free = 2 * copy.value * payload + 20_000
    copy.take(sending / max(payload, 1))
    time += silent + busy + sending
    self.silent += silent
    blocked += max(0, sending - free)
    predicted += self.time(index, bytes: bytes, payload: payload)
    formats[index].bytes += bytes
    formats[index].payload += payload
    let isFull = sending > free
    guard isFull && (time > 20e6 || !isAligned) || time > 100e6 else { return }
    // While the source is silent the buffer runs empty.
    if self.silent < time / 4 {
      if !isFull { search() } else if isAligned { learn(isShut: isShut()) }
    }
    isAligned = isFull
    (time, blocked, self.silent, predicted) = (0, 0, 0, 0)
    for index in formats.indices { (formats[index].bytes, formats[index].payload) = (0, 0) }
  }

  /// Nothing has waited: the link may be faster than is known, and ever more so until a send waits.
  private mutating func search() {
    faster(1 - hope)
    hope = min(hope * 2, 0.75)
    isKnown = false
  }

  private mutating func learn(isShut: Bool) {
    let error = time / predicted
    // Half of what was known is forgotten after 50 ms, and at once what was a guess. Where little
    // was waited the buffer may have been empty in between, so that is taken for less.
    let weight = (isKnown ? time / (time + 50e6) : 1) * min(1, error < 1 ? 1 : 16 * blocked / time)
    let step = 1 + (error - 1) * weight
    if error < 1 { faster(step) } else if isShut { slower(step) } else { link *= step }
    if error > 0.75, error < 1.25 { isKnown = true }
    hope = isKnown ? 0.05 : 0.4
    // What has not been seen for seconds may be different by now.
    for index in formats.indices where formats[index].bytes == 0 {
      formats[index].decode *= 1 - min(time / 3e9, 1)
    }
  }

  /// Whatever was thought to be slow is less so.
  private mutating func faster(_ step: Double) {
    link *= step
    for index in formats.indices { formats[index].decode *= step }
  }

  /// The far side reads too slowly: the decoders that had most to do.
  private mutating func slower(_ step: Double) {
    let all = formats.reduce(0) { $0 + $1.bytes }
    for index in formats.indices.dropFirst() where formats[index].bytes > all / 4 {
      let format = formats[index]
      formats[index].decode = max(format.decode, link * format.payload / format.bytes) * step
    }
  }
}

/// What a figure is when nothing comes in between: the tenth part of its samples are lower.
struct LowPoint: Sendable {
  private(set) var value: Double
  private let most: Double
  private var isKnown = false

  init(_ value: Double, most: Double = .infinity) { (self.value, self.most) = (value, most) }

  mutating func take(_ sample: Double) {
    if !isKnown { value = sample }
    isKnown = true
    value *= sample < value ? 1 - 0.9 / 16 : 1 + 0.1 / 16
    value = min(max(value, 0.01), most)
  }
}
