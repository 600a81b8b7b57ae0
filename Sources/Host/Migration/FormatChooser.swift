/// What moves this guest soonest: for each packet of a channel, pages as they are or one of the
/// formats that were agreed. It belongs to the channel's thread.
///
/// A packet costs two things that go on at the same time: the thread's time (encoding and copying)
/// and time behind it (the link's, or the far side's decoder's). Whichever has more to do holds
/// the guest up, so it has the higher price, and what is cheapest at these prices is chosen. The
/// prices follow what is spent: on a slow link the smallest payload wins, on a fast one the quickest
/// encoder, and in between packets of both kinds take turns, which is quicker than either. A guest
/// half of which cannot be compressed is no special case.
///
/// What a packet costs in a format is known from those that were sent and looked like it. A probe
/// now and then keeps the figures of the others fresh. Probes may cost a 256th of the time, so what
/// is far worse is probed less often.
public struct FormatChooser: Sendable {
  /// Why an index was chosen.
  public enum Reason: Int, CaseIterable, Codable, Sendable {
    /// It is the cheapest.
    case best
    /// The pages look random, and no format has done anything for such pages.
    case incompressible
    /// To learn what it costs.
    case probe
    /// There is no other.
    case only
  }

  /// What becomes of a packet.
  public struct Choice: Sendable {
    /// 0: pages as they are. From 1: a format of those agreed.
    public var index: Int
    /// Why.
    public var reason: Reason
  }

  /// What is known of a format and pages of a look, by byte of the guest.
  private struct Figures {
    /// Nanoseconds.
    var encode = 0.0
    /// Bytes.
    var payload = 1.0
    var count = 0
    /// When it was used last, in nanoseconds.
    var last = 0.0

    mutating func take(encode: Double, payload: Double, at now: Double) {
      count += 1
      // The first one is cold, what is old counts for less, and what took far too long was
      // interrupted.
      let weight = max(now - last > FormatChooser.stale ? 1 / 3 : 1 / 8, 1 / Double(count))
      let encode = count > 2 ? min(encode, self.encode * 1.5) : encode
      self.encode += (encode - self.encode) * weight
      self.payload += (payload - self.payload) * weight
      last = now
    }
  }

  /// Nanoseconds after which a figure is old.
  private static let stale = 500e6

  private let formats: Int
  /// Of each look, each index.
  private var figures: [Figures]
  /// Of each index, each reason.
  private var counts: [Int]
  private var drain: DrainModel
  /// Nanoseconds a byte takes to come while the source has something to send.
  private var reading = LowPoint(0.25, most: 2)
  /// The price of the thread's time. That of time behind it is the rest to 1.
  private var price = 0.5
  /// Nanoseconds that packets take these days.
  private var usual = 0.0
  /// Nanoseconds that probes may cost.
  private var credit = 0.0
  private var now = 0.0
  /// Of the packet that is being sent.
  private var look = PageLook.plain
  /// What was the cheapest for each look.
  private var current: [Int]

  /// - Parameter formats: how many were agreed.
  public init(formats: Int) {
    self.formats = formats
    let looks = PageLook.allCases.count
    figures = Array(repeating: Figures(), count: looks * (formats + 1))
    counts = Array(repeating: 0, count: Reason.allCases.count * (formats + 1))
    drain = DrainModel(formats: formats)
    current = Array(repeating: 0, count: looks)
  }

  /// Chooses for a packet of so many bytes of the guest. `sent` has to follow.
  public mutating func choose(_ look: PageLook, bytes: Int) -> Choice {
    self.look = look
    let choice = choice(Double(bytes))
    counts[choice.index * Reason.allCases.count + choice.reason.rawValue] += 1
    return choice
  }

  private mutating func choice(_ bytes: Double) -> Choice {
    if formats == 0 { return Choice(index: 0, reason: .only) }
    var best = current[look.rawValue]
    // What is hardly cheaper is no reason to change.
    var least = cost(best, bytes) * 0.97
    for index in 0...formats {
      // What has hardly been tried is tried, but on pages for which there is little hope.
      if index > 0, look != .noise, figures[place(index)].count < 2 {
        return Choice(index: index, reason: .probe)
      }
      let cost = cost(index, bytes)
      if cost < least { (best, least) = (index, cost) }
    }
    current[look.rawValue] = best
    // Of those whose figures are old and whose probe can be paid, the one whose are the oldest.
    var (oldest, since, loss) = (best, now - Self.stale, 0.0)
    for index in 0...formats where index != best && figures[place(index)].last < since {
      let more = cost(index, bytes) - least
      if more <= credit { (oldest, since, loss) = (index, figures[place(index)].last, more) }
    }
    credit -= max(0, loss)
    if oldest != best { return Choice(index: oldest, reason: .probe) }
    return Choice(index: best, reason: look == .noise && best == 0 ? .incompressible : .best)
  }

  /// The packet was sent.
  ///
  /// - Parameters:
  ///   - index: as what.
  ///   - bytes: of its pages.
  ///   - payload: bytes of its payload.
  ///   - waiting: for the source, and until its pages were here.
  ///   - encoding: in the backend.
  ///   - sending: in the kernel, which waits for room.
  ///   - now: when it was sent, counted from any moment.
  ///   - isShut: whether the far side reads more slowly than the link brings; asked for a few times
  ///     a second. Where that is not known it is the link that is slow.
  public mutating func sent(
    _ index: Int, bytes: Int, payload: Int, waiting: Duration, encoding: Duration,
    sending: Duration, at now: Duration, isShut: () -> Bool
  ) {
    guard bytes > 0 else { return }
    let (bytes, payload) = (Double(bytes), Double(payload))
    let (waiting, encoding) = (waiting / .nanoseconds(1), encoding / .nanoseconds(1))
    let now = now / .nanoseconds(1)
    credit = min(credit + (now - self.now) / 256, 64e6)
    self.now = now
    figures[place(index)].take(encode: encoding / bytes, payload: payload / bytes, at: now)
    let arriving = min(waiting, 2 * reading.value * bytes)
    reading.take(waiting / bytes)
    drain.sent(
      index, bytes: bytes, payload: payload, silent: waiting - arriving,
      busy: arriving + encoding, sending: sending / .nanoseconds(1),
      isShut: isShut)
    // Whichever has more to do becomes dearer, by how much more it is.
    let here = reading.value * bytes + encoding + drain.copy.value * payload
    let behind = drain.time(index, bytes: bytes, payload: payload)
    usual += (max(here, behind) - usual) / (usual == 0 ? 1 : 16)
    // A processor is never free, for guests want it too: of two that are as good it is the one that
    // takes less of it.
    price = min(max(price + (here - behind) / usual / 16, 1 / 8), 1)
  }

  /// What was chosen, why, and what is known of each index.
  public var uses: [Use] {
    (0...formats).map { index in
      var use = Use()
      for reason in Reason.allCases {
        use.packets[reason] = counts[index * Reason.allCases.count + reason.rawValue]
      }
      // Of the look that most packets had.
      let known = PageLook.allCases.map { figures[place(index, $0)] }
        .max { $0.count < $1.count }
      guard let known, known.count > 0 else { return use }
      use.encode = known.encode
      use.payload = known.payload
      return use
    }
  }

  /// Nanoseconds a byte that was sent takes to get away, while the link is full, as this channel has
  /// its share of it.
  public var link: Double { drain.link }

  /// What became of one index.
  public struct Use: Sendable {
    /// Packets by why they were sent so.
    public var packets: [Reason: Int] = [:]
    /// Nanoseconds of encoding by byte of the guest.
    public var encode = 0.0
    /// Bytes of payload by byte of the guest.
    public var payload = 1.0
  }

  private func place(_ index: Int) -> Int { place(index, look) }

  private func place(_ index: Int, _ look: PageLook) -> Int {
    look.rawValue * (formats + 1) + index
  }

  /// Of a packet of so many bytes in a format, at the prices of now.
  private func cost(_ index: Int, _ bytes: Double) -> Double {
    var known = figures[place(index)]
    // What looks random is incompressible until a probe has shown otherwise.
    if known.count == 0, index > 0 { known.encode = max(figures[index].encode, 1) }
    let payload = known.payload * bytes
    let here = known.encode * bytes + drain.copy.value * payload
    return price * here + (1 - price) * drain.time(index, bytes: bytes, payload: payload)
  }
}
