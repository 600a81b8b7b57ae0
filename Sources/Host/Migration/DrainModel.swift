/// How fast what was given to a socket gets away: what is known of the link and of the far side's
/// decoders, from how long sends take. Times are nanoseconds, figures nanoseconds a byte.
///
///     sendmsg ── buffer ── link ── buffer ── decoder
///
/// One send finds room and takes its copy, the next one waits for megabytes to leave, so a single
/// send says nothing. But when a send that had to wait returns, the buffer is full. So from one of
/// them to another, a *stretch*, as much has left as was put in. Whether the link or the far side
/// was slow is told by the far side's window.
struct DrainModel: Sendable {
  /// What becomes of a format's packets.
  private struct Format {
    /// Of a byte of the guest, at the far side; 0 until its decoder was seen to hold us up.
    var decode = 0.0
    /// Bytes of the guest in this stretch.
    var bytes = 0.0
    /// Bytes of payload in this stretch.
    var payload = 0.0
    /// Bytes of payload before it, of the last that may still be on their way.
    var recent = 0.0
  }

  /// Of a byte sent: what every send pays, into an empty buffer too. A gigabyte a second at least:
  /// on a slow link a small buffer makes every send wait.
  private(set) var copy = LowPoint(0.25, most: 1)
  /// Of a byte sent, while the link is full. It is taken to be fast until it has been.
  private(set) var link = 0.25
  /// What it was when the buffer was full last.
  private var seen = 0.25
  private var formats: [Format]
  /// The link was as fast as it was known to be.
  private var isKnown = false
  /// By which part the link may have become faster when nothing has waited for a whole stretch.
  private var hope = 0.4
  /// The stretch began with a full buffer.
  private var isAligned = false
  /// The far side's window was shut when it began.
  private var wasShut = false
  private var time = 0.0
  private var blocked = 0.0
  private var silent = 0.0

  /// More than what the buffers hold.
  private static let inFlight = 8e6

  init(formats: Int) { self.formats = Array(repeating: Format(), count: formats + 1) }

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
  ///   - isShut: whether the far side's window is shut, for it does not read; asked for at the end
  ///     of a stretch.
  mutating func sent(
    _ index: Int, bytes: Double, payload: Double, silent: Double, busy: Double, sending: Double,
    isShut: () -> Bool
  ) {
    let free = 2 * min(copy.value, 0.5) * payload + 20_000
    copy.take(sending / max(payload, 1))
    time += silent + busy + sending
    self.silent += silent
    blocked += max(0, sending - free)
    formats[index].bytes += bytes
    formats[index].payload += payload
    let isFull = sending > free
    guard isFull && (time > 20e6 || !isAligned) || time > 100e6 else { return }
    // While the source is silent the buffer runs empty, so that nothing can be learned.
    if self.silent < time / 4 {
      if !isFull { search() } else if isAligned { learn(isShut: isShut()) }
    }
    let wire = formats.reduce(0) { $0 + $1.payload }
    for index in formats.indices {
      formats[index].recent *= 1 - min(1, wire / Self.inFlight)
      formats[index].recent += formats[index].payload
      (formats[index].bytes, formats[index].payload) = (0, 0)
    }
    isAligned = isFull
    (time, blocked, self.silent) = (0, 0, 0)
  }

  /// Nothing has waited: everything may be faster than is known, the link ever more so until a send
  /// waits again.
  private mutating func search() {
    link *= 1 - hope
    hope = min(hope * 2, 0.75)
    isKnown = false
    for index in formats.indices { formats[index].decode *= 1 - min(time / 1e9, 1) }
  }

  private mutating func learn(isShut: Bool) {
    let wire = formats.reduce(0) { $0 + $1.payload }
    guard wire > 0 else { return }
    let pace = time / wire
    // Half of what was known is forgotten after 50 ms, and at once what was a guess.
    var weight = isKnown ? time / (time + 50e6) : 1
    // Where little was waited the buffer may have been empty in between.
    if pace > link { weight *= min(1, 8 * blocked / time) }
    let isAsKnown = abs(pace / link - 1) < 0.25
    let slow = isShut && blocked > time / 8 ? slow(wire) : nil
    if !isShut && !wasShut || slow == 0 || slow != nil && isAsKnown {
      isKnown = isAsKnown || abs(pace / seen - 1) < 0.25
      link += (pace - link) * weight
      seen = link
    } else if let slow {
      formats[slow].decode += (time / formats[slow].bytes - formats[slow].decode) * weight
    }
    wasShut = isShut
    hope = isKnown ? 0.05 : 0.4
    for index in formats.indices {
      // It took no longer than this, and what was seconds ago may be different by now.
      formats[index].decode = min(
        formats[index].decode * (1 - min(time / 15e9, 1)), time / formats[index].bytes)
    }
  }

  /// The format that holds us up when the far side reads too slowly: nearly all that has left is of
  /// it, and it is sent still. Pages as they are take next to no time there, so they are it only
  /// where there is nothing else: the far side is held up itself, which is like a slow link.
  private func slow(_ wire: Double) -> Int? {
    // What was on its way when the stretch began left first.
    let before = formats.reduce(0) { $0 + $1.recent }
    let after = max(0, 1 - before / wire)
    let left = formats.map { $0.recent + $0.payload * after }
    let all = left.reduce(0, +)
    let bytes = formats.reduce(0) { $0 + $1.bytes }
    if left[0] > all * 0.9, formats[0].payload > wire * 0.9 { return 0 }
    return formats.indices.dropFirst().first {
      left[$0] > (all - left[0]) * 0.75 && formats[$0].bytes > bytes / 4
    }
  }
}

/// What a figure is when nothing comes in between: the tenth part of its samples are lower.
struct LowPoint: Sendable {
  private(set) var value: Double
  private let most: Double
  private var isGuess = true

  init(_ guess: Double, most: Double = .infinity) { (value, self.most) = (guess, most) }

  mutating func take(_ sample: Double) {
    if isGuess { (value, isGuess) = (sample, false) }
    value *= sample < value ? 1 - 0.9 / 16 : 1 + 0.1 / 16
    value = min(max(value, 0.01), most)
  }
}
