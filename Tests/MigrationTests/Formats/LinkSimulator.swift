import Migration

/// A format as a simulated guest meets it. Rates are MB/s of pages.
struct SimulatedFormat {
  var encode: Double
  var ratio: Double
  /// At the far side.
  var decode: Double
  /// How much quicker it is with noise.
  var onNoise = 1.5

  static let lz4 = SimulatedFormat(encode: 1000, ratio: 2.5, decode: 2500, onNoise: 4)
  static let zstd = SimulatedFormat(encode: 400, ratio: 3.5, decode: 1000, onNoise: 2)
  static let zlib = SimulatedFormat(encode: 60, ratio: 3.6, decode: 300, onNoise: 0.7)
  static let igzip = SimulatedFormat(encode: 400, ratio: 2.9, decode: 800, onNoise: 1)
  static let all = [lz4, zstd, zlib, igzip]
}

/// Channels that share a link, each with buffers of some megabytes, in steps of 20 µs: the same
/// each time.
///
/// A channel's thread reads, encodes and sends. A send that finds no room waits until a third of
/// the buffer is free, as Linux has it, and puts in what fits. The send buffer grows with what was
/// delivered. The link is shared evenly among those that have something to send and room behind it.
struct LinkSimulator {
  enum Guest { case text, noise, mixed, mixedPages, repeated }

  var formats = SimulatedFormat.all
  var channels = 1
  /// Gbit/s, by seconds since the start.
  var link: (Double) -> Double
  /// By seconds since the start.
  var guest: (Double) -> Guest = { _ in .text }
  /// GB/s into a socket.
  var copy = 4.0
  /// GB/s out of the source's.
  var read = 4.0
  var sendBuffer = 4e6
  var receiveBuffer = 6e6
  /// MB/s that the source has for a channel.
  var source = Double.infinity
  /// GB/s of a channel that the far side passes on as they come.
  var far = Double.infinity

  /// What was seen.
  struct Result {
    /// MB/s of the guest that were decoded.
    var rate = 0.0
    /// In each 100 ms: MB of the guest that were decoded.
    var course: [Double] = []
    /// In each 100 ms: packets, by index.
    var chosen: [[Int]] = []
    /// Of the first channel.
    var chooser: FormatChooser

    /// How much it lacks to the other: a part of 1.
    func loss(to other: Result) -> Double { 1 - rate / other.rate }
    /// MB of the guest, of so many tenths of a second.
    func moved(_ tenths: Range<Int>) -> Double { course[tenths].reduce(0, +) }
    /// Which part of the packets had one of these indices.
    func part(of indices: Set<Int>, _ tenths: Range<Int>) -> Double {
      let all = chosen[tenths].reduce(0) { $0 + $1.reduce(0, +) }
      let some = chosen[tenths].reduce(0) { sum, counts in
        sum + counts.enumerated().reduce(0) { $0 + (indices.contains($1.0) ? $1.1 : 0) }
      }
      return Double(some) / Double(max(all, 1))
    }
  }

  private enum Stage { case read, encode, send }

  private struct Packet {
    var index = 0
    var payload = 0.0
    /// µs at the far side.
    var decode = 0.0
  }

  private struct Channel {
    var chooser: FormatChooser
    var fixed: Int?
    var random: UInt64
    var stage = Stage.read
    /// Where its thread is, µs.
    var now = 0.0
    var readAt = 0.0
    var startedAt = 0.0
    var encodedAt = 0.0
    var packet = Packet()
    var choice: FormatChooser.Choice?
    /// What was tried with its pages, and µs of that.
    var trial: (index: Int, payload: Double, time: Double)?
    /// Bytes of it that have yet to be put in.
    var left = 0.0
    var isBlocked = false
    /// Bytes in the send buffer, and in the receive buffer.
    var queue = 0.0
    var arrived = 0.0
    var delivered = 0.0
    /// Packets that are not decoded yet, from `head` on, and how much of the first one is.
    var flight: [Packet] = []
    var head = 0
    var decoded = 0.0
    var sourceAt = 0.0

    mutating func uniform() -> Double {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      return Double(random >> 11) / Double(1 << 53)
    }
  }

  private static let bytes = 524_288.0
  private static let step = 20.0

  /// Runs with the chooser.
  func run(seconds: Double) -> Result { run(nil, seconds) }

  /// Runs with one index alone.
  func fixed(_ index: Int, seconds: Double) -> Result { run(index, seconds) }

  /// Runs with each index alone.
  func fixed(seconds: Double) -> [Result] { (0...formats.count).map { run($0, seconds) } }

  private func run(_ fixed: Int?, _ seconds: Double) -> Result {
    var result = Result(chooser: FormatChooser(formats: 0))
    var all = (0..<channels).map { id in
      Channel(
        chooser: FormatChooser(formats: formats.count), fixed: fixed,
        random: 0x9E37_79B9_7F4A_7C15 &* UInt64(id + 1))
    }
    var (time, total, part) = (0.0, 0.0, 0.0)
    var chosen = Array(repeating: 0, count: formats.count + 1)
    while time < seconds * 1e6 {
      for id in all.indices { work(&all[id], until: time + Self.step, time / 1e6, &chosen) }
      carry(&all, link(time / 1e6) * 125 * Self.step)
      for id in all.indices { part += decode(&all[id]) }
      let tenth = Int(time / 1e5)
      time += Self.step
      guard Int(time / 1e5) != tenth else { continue }
      result.course.append(part / 1e6)
      result.chosen.append(chosen)
      total += part
      part = 0
      for index in chosen.indices { chosen[index] = 0 }
    }
    result.rate = (total + part) / 1e6 / seconds
    result.chooser = all[0].chooser
    return result
  }

  /// The link carries so many bytes.
  private func carry(_ all: inout [Channel], _ bytes: Double) {
    func isReady(_ channel: borrowing Channel) -> Bool {
      channel.queue > 0 && channel.arrived < receiveBuffer
    }
    var room = bytes
    for _ in 0..<3 {
      var ready = 0
      for id in all.indices where isReady(all[id]) { ready += 1 }
      if ready == 0 || room < 1 { break }
      let share = room / Double(ready)
      for id in all.indices where isReady(all[id]) {
        let moved = min(share, all[id].queue, receiveBuffer - all[id].arrived)
        all[id].queue -= moved
        all[id].arrived += moved
        all[id].delivered += moved
        room -= moved
      }
    }
  }

  /// The far side decodes for a step.
  ///
  /// - Returns: bytes of the guest.
  private func decode(_ channel: inout Channel) -> Double {
    var (left, sum) = (Self.step, 0.0)
    while left > 0, channel.head < channel.flight.count, channel.arrived > 0 {
      let first = channel.flight[channel.head]
      let rate = first.payload / first.decode
      let moved = min(first.payload - channel.decoded, channel.arrived, rate * left)
      channel.arrived -= moved
      channel.decoded += moved
      left -= moved / rate
      sum += moved * Self.bytes / first.payload
      guard channel.decoded >= first.payload - 0.5 else { break }
      channel.head += 1
      channel.decoded = 0
      if channel.head > 4096 {
        channel.flight.removeFirst(channel.head)
        channel.head = 0
      }
    }
    return sum
  }

  /// A channel's thread goes on until it waits or is at the end of the step.
  private func work(
    _ channel: inout Channel, until end: Double, _ seconds: Double, _ chosen: inout [Int]
  ) {
    while channel.now < end {
      switch channel.stage {
      case .read:
        make(&channel, seconds)
        chosen[channel.packet.index] += 1
        channel.stage = .encode
      case .encode:
        channel.encodedAt = channel.now
        channel.left = channel.packet.payload
        channel.flight.append(channel.packet)
        channel.isBlocked = false
        channel.stage = .send
      case .send:
        let size = min(sendBuffer, 128_000 + channel.delivered)
        let room = max(0, size - channel.queue)
        if channel.isBlocked, room < size / 3 {
          channel.now = end
          continue
        }
        let moved = min(room, channel.left)
        channel.queue += moved
        channel.left -= moved
        channel.now += moved / copy / 1000 + 3
        channel.isBlocked = channel.left > 0
        if channel.isBlocked { continue }
        if channel.fixed == nil { tell(&channel) }
        channel.now += channel.trial?.time ?? 0
        channel.trial = nil
        channel.stage = .read
      }
    }
  }

  /// Reads a packet and encodes it.
  private func make(_ channel: inout Channel, _ seconds: Double) {
    channel.readAt = channel.now
    // The source's own buffer holds 10 ms.
    channel.sourceAt = max(channel.sourceAt, channel.now - 10_000) + Self.bytes / source
    channel.now = max(channel.now, channel.sourceAt) + Self.bytes / read / 1000
    channel.startedAt = channel.now
    let (noisy, look): (Double, PageLook) =
      switch guest(seconds) {
      case .text: (0, .plain)
      case .noise: (1, .noise)
      case .mixed: channel.uniform() < 0.5 ? (1, .noise) : (0, .plain)
      case .mixedPages: (0.5, .mixed)
      case .repeated: (0, .noise)
      }
    var (index, trial) = (channel.fixed ?? 0, Int?.none)
    if channel.fixed == nil {
      let choice = channel.chooser.choose(look, bytes: Int(Self.bytes))
      channel.choice = choice
      (index, trial) = (choice.index, choice.trial)
      // What looking and choosing takes.
      channel.now += 2
    }
    let size = 1 + 0.03 * (channel.uniform() - 0.5)
    var packet = Packet(index: index, payload: Self.bytes, decode: Self.bytes / 8000)
    if index > 0 {
      let (time, payload) = encode(index, noisy, size, &channel)
      channel.now += time
      packet.payload = payload
      packet.decode = Self.bytes * (1 - noisy / 2) / formats[index - 1].decode
    }
    if let index = trial {
      let (time, payload) = encode(index, noisy, size, &channel)
      channel.trial = (index, payload, time)
    }
    packet.decode = max(packet.decode, packet.payload / far / 1000)
    channel.packet = packet
  }

  /// - Returns: µs, and bytes.
  private func encode(
    _ index: Int, _ noisy: Double, _ size: Double, _ channel: inout Channel
  ) -> (Double, Double) {
    let format = formats[index - 1]
    let jitter = 0.3 * (channel.uniform() - 0.5)
    let pause = channel.uniform() < 0.01 ? 500.0 : 0
    let encode = (1 - noisy) / format.encode + noisy / (format.encode * format.onNoise)
    return (
      Self.bytes * encode * (1 + jitter) + pause,
      Self.bytes * ((1 - noisy) / format.ratio * size + noisy)
    )
  }

  private func tell(_ channel: inout Channel) {
    func duration(_ microseconds: Double) -> Duration { .nanoseconds(Int(microseconds * 1000)) }
    let isShut = channel.arrived > receiveBuffer / 2
    channel.chooser.sent(
      channel.choice!, bytes: Int(Self.bytes), payload: Int(channel.packet.payload),
      waiting: duration(channel.startedAt - channel.readAt),
      encoding: duration(channel.encodedAt - channel.startedAt),
      sending: duration(channel.now - channel.encodedAt),
      trial: channel.trial.map {
        ($0.index, .init(payload: Int($0.payload), encoding: duration($0.time)))
      }, at: duration(channel.now),
      isShut: { isShut })
  }
}
