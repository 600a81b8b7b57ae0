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
/// What a packet costs in a format is known from those that were sent and looked like it, and from
/// trials: now and then another format encodes the same pages too, and what comes out is counted and
/// thrown away. A guest's memory is not alike all over, so only what both have made of the same pages
/// compares them, and the format in use tells what the pages of now are like. Trials may take a
/// 256th of the time, each format's a part of that, so a slow one is tried less often.
public struct FormatChooser: Sendable {
  /// Why an index was chosen.
  public enum Reason: Int, CaseIterable, Codable, Sendable {
    /// It is the cheapest.
    case best
    /// The pages look random, and no format has done anything for such pages.
    case incompressible
    /// There is no other.
    case only
  }

  /// What becomes of a packet.
  public struct Choice: Sendable {
    /// 0: pages as they are. From 1: a format of those agreed.
    public var index: Int
    /// Why.
    public var reason: Reason
    /// A format that is to encode the same pages too, by an encoder of its own, for nobody.
    public var trial: Int?
    /// What the pages look like.
    var look = PageLook.plain
  }

  /// What came of a trial.
  public struct Trial: Sendable {
    /// Bytes.
    public var payload: Int
    /// In the backend.
    public var encoding: Duration

    /// A trial of the format that was to be tried.
    public init(payload: Int, encoding: Duration) {
      (self.payload, self.encoding) = (payload, encoding)
    }
  }

  /// What is known of a format and pages of a look.
  private struct Figures {
    /// Nanoseconds by byte of the guest.
    var encode = 0.0
    /// Bytes, for one of the measure's.
    var payload = 1.0
    var count = 0
    /// When it was used or tried last, in nanoseconds.
    var last = 0.0
    /// It was not what had been expected.
    var isSurprise = false

    func isOld(at now: Double) -> Bool {
      now - last > (isSurprise || count < 3 ? FormatChooser.stale / 10 : FormatChooser.stale)
    }

    mutating func take(encode: Double, at now: Double) {
      // The first one is cold, what is old counts for less, and what took far too long was
      // interrupted.
      let weight = max(isOld(at: now) ? 1 / 3 : 1 / 8, 1 / Double(count + 1))
      let encode = count > 1 ? min(encode, self.encode * 1.5) : encode
      self.encode += (encode - self.encode) * weight
      count += 1
      last = now
    }

    mutating func compare(_ payload: Double) {
      isSurprise = abs(payload - self.payload) > self.payload / 8
      self.payload += (payload - self.payload) * max(1 / 2, 1 / Double(max(count, 1)))
    }
  }

  /// What pages of a look are like these days: what a format makes of them by which the others are
  /// measured, the last one in use.
  private struct Measure {
    /// 0: none has been tried yet.
    var index = 0
    /// Bytes of payload by byte of the guest that a format of the figure 1 makes.
    var level = 1.0
    var count = 0

    mutating func take(_ payload: Double) {
      count += 1
      level += (payload - level) * max(1 / 4, 1 / Double(count))
    }
  }

  /// Nanoseconds after which a figure is old.
  private static let stale = 500e6

  private let formats: Int
  /// Of each look, each index.
  private var figures: [Figures]
  /// Of each look.
  private var measures: [Measure]
  /// Of each index, each reason.
  private var counts: [Int]
  private var drain: DrainModel
  /// Nanoseconds a byte takes to come while the source has something to send.
  private var reading = LowPoint(0.25, most: 2)
  /// The price of the thread's time. That of time behind it is the rest to 1.
  private var price = 0.5
  /// Nanoseconds that packets take these days.
  private var usual = 0.0
  /// Nanoseconds that trials of each index may take.
  private var credits: [Double]
  /// How many there were.
  private var trials: [Int]
  /// Nanoseconds that the last one took, which is over after the packet was sent.
  private var trying = 0.0
  private var now = 0.0
  /// Of the packet that is being chosen for, or was sent.
  private var look = PageLook.plain
  /// What was the cheapest for each look.
  private var current: [Int]

  /// - Parameter formats: how many were agreed.
  public init(formats: Int) {
    self.formats = formats
    let looks = PageLook.allCases.count
    figures = Array(repeating: Figures(), count: looks * (formats + 1))
    measures = Array(repeating: Measure(), count: looks)
    credits = Array(repeating: 0, count: formats + 1)
    trials = credits.map { _ in 0 }
    counts = Array(repeating: 0, count: Reason.allCases.count * (formats + 1))
    drain = DrainModel(formats: formats)
    current = Array(repeating: 0, count: looks)
  }

  /// Chooses for a packet of so many bytes of the guest. `sent` has to follow, in the same order
  /// where several are in flight.
  public mutating func choose(_ look: PageLook, bytes: Int) -> Choice {
    self.look = look
    var choice = choice(Double(bytes))
    choice.look = look
    counts[choice.index * Reason.allCases.count + choice.reason.rawValue] += 1
    return choice
  }

  private mutating func choice(_ bytes: Double) -> Choice {
    if formats == 0 { return Choice(index: 0, reason: .only) }
    // Of pages that look random nothing is expected, of others something, whatever comes first.
    if look != .noise, measures[look.rawValue].count == 0 {
      return Choice(index: 1, reason: .best, trial: trial(1, bytes))
    }
    var best = current[look.rawValue]
    // What is hardly cheaper is no reason to change.
    var least = cost(best, bytes) * 0.97
    for index in 0...formats {
      let cost = cost(index, bytes)
      if cost < least { (best, least) = (index, cost) }
    }
    current[look.rawValue] = best
    let isHopeless = look == .noise && best == 0
    return Choice(
      index: best, reason: isHopeless ? .incompressible : .best, trial: trial(best, bytes))
  }

  /// What to try: what has not been tried yet, or has been so long ago that it is worth its time
  /// again, the one first whose figures are the oldest.
  private func trial(_ best: Int, _ bytes: Double) -> Int? {
    var (oldest, since) = (Int?.none, Double.infinity)
    for index in 1...formats where index != best {
      let known = figures[place(index)]
      // For pages that look random there is little hope, so the first time counts too.
      let encode = known.count > 0 ? known.encode : look == .noise ? figures[index].encode : 0
      let isDue = known.count == 0 || known.isOld(at: now)
      guard isDue, encode * bytes * price <= credits[index] else { continue }
      let last = known.count > 0 ? known.last : -1
      if last < since { (oldest, since) = (index, last) }
    }
    return oldest
  }

  /// The packet was sent.
  ///
  /// - Parameters:
  ///   - choice: what was chosen for it.
  ///   - bytes: of its pages.
  ///   - payload: bytes of its payload.
  ///   - waiting: for the source, and until its pages were here.
  ///   - encoding: in the backend.
  ///   - sending: in the kernel, which waits for room.
  ///   - trial: what came of the choice's trial, afterwards; it counts for none of these times.
  ///   - now: when it was sent, counted from any moment.
  ///   - isShut: whether the far side reads more slowly than the link brings; asked for a few times
  ///     a second. Where that is not known it is the link that is slow.
  public mutating func sent(
    _ choice: Choice, bytes: Int, payload: Int, waiting: Duration, encoding: Duration,
    sending: Duration, trial: (index: Int, result: Trial)? = nil, at now: Duration,
    isShut: () -> Bool
  ) {
    guard bytes > 0 else { return }
    look = choice.look
    let index = choice.index
    let (bytes, payload) = (Double(bytes), Double(payload))
    let (waiting, encoding) = (waiting / .nanoseconds(1), encoding / .nanoseconds(1))
    let now = now / .nanoseconds(1)
    for index in credits.indices {
      credits[index] = min(credits[index] + (now - self.now) / 256 / Double(formats), 64e6)
    }
    self.now = now
    if index > 0 {
      figures[place(index)].take(encode: encoding / bytes, at: now)
      measure(index, payload / bytes)
    }
    let arriving = min(waiting, 2 * reading.value * bytes)
    reading.take(waiting / bytes)
    drain.sent(
      index, bytes: bytes, payload: payload, silent: waiting - arriving,
      busy: trying + arriving + encoding, sending: sending / .nanoseconds(1),
      isShut: isShut)
    trying = 0
    if let trial { tried(trial.index, trial.result, bytes, next: (index, payload / bytes)) }
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
      use.trials = trials[index]
      // Of the look that most packets had.
      let look = PageLook.allCases.max {
        figures[place(index, $0)].count < figures[place(index, $1)].count
      }
      guard let look, figures[place(index, look)].count > 0 else { return use }
      use.encode = figures[place(index, look)].encode
      use.payload = payload(index, look)
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
    /// Packets that it has encoded besides, to find out.
    public var trials = 0
    /// Nanoseconds of encoding by byte of the guest.
    public var encode = 0.0
    /// Bytes of payload by byte of the guest.
    public var payload = 1.0
  }

  /// What a format has made of a packet tells what the pages are like.
  private mutating func measure(_ index: Int, _ payload: Double) {
    measures[look.rawValue].index = index
    measures[look.rawValue].take(payload / figures[place(index)].payload)
  }

  /// A trial tells about its format, next to what the packet's own made of the same pages.
  private mutating func tried(
    _ index: Int, _ trial: Trial, _ bytes: Double, next other: (index: Int, payload: Double)
  ) {
    let (encoding, payload) = (trial.encoding / .nanoseconds(1), Double(trial.payload) / bytes)
    let place = place(index)
    trials[index] += 1
    trying = encoding
    credits[index] = max(credits[index] - encoding * price, 0)
    figures[place].take(encode: encoding / bytes, at: now)
    if other.index > 0 {
      figures[place].compare(figures[self.place(other.index)].payload * payload / other.payload)
    } else if [0, index].contains(measures[look.rawValue].index) {
      measure(index, payload)
    } else {
      figures[place].compare(payload / measures[look.rawValue].level)
    }
  }

  /// Bytes of payload by byte of the guest.
  private func payload(_ index: Int, _ look: PageLook) -> Double {
    index == 0 ? 1 : figures[place(index, look)].payload * measures[look.rawValue].level
  }

  private func place(_ index: Int) -> Int { place(index, look) }

  private func place(_ index: Int, _ look: PageLook) -> Int {
    look.rawValue * (formats + 1) + index
  }

  /// Of a packet of so many bytes in a format, at the prices of now.
  private func cost(_ index: Int, _ bytes: Double) -> Double {
    let known = figures[place(index)]
    if index > 0, known.count == 0 { return .infinity }
    let payload = payload(index, look) * bytes
    let here = known.encode * bytes + drain.copy.value * payload
    return price * here + (1 - price) * drain.time(index, bytes: bytes, payload: payload)
  }
}
