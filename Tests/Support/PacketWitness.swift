import Foundation

/// The other end of a guest's wire: it sees what leaves a QEMU, and asks the guest's echo.
///
/// A wire is a UNIX socket at which one QEMU after the other connects (`-netdev stream`); what a
/// QEMU had given to the kernel when it died still comes. So two wires, one of a primary and one of
/// where its guest goes on, tell what others have seen of both.
public final class PacketWitness: Sendable {
  /// The guest's numbered packets, as Tests/Guest/disks.c counts them.
  public enum Kind: Int, Sendable, CaseIterable {
    case ipv4, ipv6, arp
  }

  /// A numbered packet of the guest.
  public struct Packet: Sendable {
    /// Over what.
    public let kind: Kind
    /// Its number, of its kind.
    public let number: Int
    /// Random: two guests that go on from one moment send different ones.
    public let nonce: UInt64
    /// When it was read.
    public let time: ContinuousClock.Instant
  }

  /// What was seen so far.
  public struct Seen: Sendable {
    /// Numbered packets, as they came.
    public var packets: [Packet] = []
    /// The greatest number of an answer of the echo.
    public var echoed = 0
    /// How long each question to the echo took.
    public var trips: [Duration] = []
    /// Frames of any kind.
    public var frames = 0
    /// Bytes of the guest's last stream, and in which time they came; nil before its end.
    public var stream: (bytes: Int, time: Duration)?

    /// Whether a packet of each kind has come.
    public var hasEveryKind: Bool {
      Kind.allCases.allSatisfy { kind in packets.contains { $0.kind == kind } }
    }
  }

  private struct State {
    var seen = Seen()
    var current: Int32?
    var asked: [UInt64: ContinuousClock.Instant] = [:]
    var nextQuestion: UInt64 = 1
    var isClosed = false
    var readers = 0
    var sink = StreamSink()
    var asks = false
  }

  /// The socket's path, for ``DiskGuest/machine(_:wire:)``.
  public let path: String
  private let listener: Int32
  private let state = Monitor(State())

  /// Listens at `path`.
  public init(path: String) throws {
    self.path = path
    listener = try Sockets.listen(unix: path)
    let (listener, state) = (listener, state)
    Thread.detachNewThread {
      while case let connection = Sockets.accept(listener), connection >= 0 {
        state.update {
          $0.current = connection
          $0.readers += 1
        }
        Thread.detachNewThread { Self.read(connection, state) }
      }
      close(listener)
    }
  }

  deinit { end() }

  /// What was seen so far.
  public var seen: Seen { state.read { $0.seen } }

  /// Waits until `body` finds in what was seen what it looks for; nil at the time-out.
  public func wait<R>(_ timeout: Duration, for body: (Seen) -> R?) -> R? {
    state.wait(timeout) { body($0.seen) }
  }

  /// Waits until no QEMU is connected and all that came has been read; false at the time-out.
  public func waitUnplugged(_ timeout: Duration = .seconds(10)) -> Bool {
    state.wait(timeout) { $0.readers == 0 ? true : nil } ?? false
  }

  /// Asks the guest's echo, each time after about `milliseconds`, until ``hush()`` or ``end()``.
  public func ask(every milliseconds: Int = 20) {
    let state = state
    state.update { $0.asks = true }
    Thread.detachNewThread {
      while state.read({ $0.asks && !$0.isClosed }) {
        Thread.sleep(forTimeInterval: Double(milliseconds) * .random(in: 0.0007...0.0013))
        let question = state.update { state -> (Int32, UInt64)? in
          guard let current = state.current else { return nil }
          let number = state.nextQuestion
          state.nextQuestion += 1
          state.asked[number] = .now
          // A copy, so that the reader does not close it under the write.
          return (fcntl(current, F_DUPFD_CLOEXEC, 0), number)
        }
        guard let (connection, number) = question else { continue }
        Sockets.write(connection, Frame.question(number))
        close(connection)
      }
    }
  }

  /// Asks no more.
  public func hush() { state.update { $0.asks = false } }

  /// Forgets the guest's last stream, so that the next one is waited for.
  public func expectStream() {
    state.update { state in
      state.sink = StreamSink()
      state.seen.stream = nil
    }
  }

  /// Stops asking and listening, and cuts the wire.
  public func end() {
    state.update { state in
      guard !state.isClosed else { return }
      state.isClosed = true
      shutdown(listener, Int32(SHUT_RDWR))
      if let current = state.current { shutdown(current, Int32(SHUT_RDWR)) }
    }
  }

  /// A thread for each connection: frames, each behind its length in four bytes, big-endian.
  private static func read(_ connection: Int32, _ state: Monitor<State>) {
    var pending: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = Sockets.read(connection, &buffer), count > 0 {
      pending += buffer[..<count]
      var frames: [Frame] = []
      var start = 0
      while pending.count - start >= 4 {
        let length = pending[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
        guard pending.count - start >= 4 + length else { break }
        frames.append(Frame(Data(pending[start + 4..<start + 4 + length])))
        start += 4 + length
      }
      pending.removeFirst(start)
      let answer = state.update { state in
        for frame in frames { note(frame, &state) }
        return state.sink.answer()
      }
      if let answer { Sockets.write(connection, answer) }
    }
    state.update { state in
      if state.current == connection { state.current = nil }
      state.readers -= 1
      close(connection)
    }
  }

  private static func note(_ frame: Frame, _ state: inout State) {
    let now = ContinuousClock.now
    state.seen.frames += 1
    switch frame.content {
    case .numbered(let kind, let number, let nonce):
      state.seen.packets.append(Packet(kind: kind, number: number, nonce: nonce, time: now))
    case .answer(let question, let number):
      state.seen.echoed = max(state.seen.echoed, number)
      if let asked = state.asked.removeValue(forKey: question) {
        state.seen.trips.append(asked.duration(to: now))
      }
    case .segment(let segment):
      state.sink.take(segment, at: now)
      guard state.sink.hasEnded, let times = state.sink.times else { return }
      let time = times.lowerBound.duration(to: times.upperBound)
      state.seen.stream = (state.sink.bytes, time)
    case .other:
      break
    }
  }
}
