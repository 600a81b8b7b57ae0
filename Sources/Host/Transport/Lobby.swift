import Glibc
import Synchronization
import System
import TLS

/// Accepts connections and keeps each of them until it has introduced itself.
///
/// Anybody can connect: a port scan, a health check, another program. Whoever has not introduced
/// himself as a source's connection within the listener's time limit, or says something else, is
/// closed and never reaches the migration. Nothing is taken from a connection before: its first
/// bytes are only looked at.
///
/// What says by its head alone what it is and how long (a link's hello) may be longer than a kernel
/// keeps: that is taken, and handed over with the connection, at once and in whatever order.
///
/// Where a listener asks for TLS, a connection's handshake comes before that: step by step as its
/// bytes come, within the same time limit, so that a slow one holds up nobody, and strangers' cost
/// no more than this one thread has.
///
/// A host that makes many connections makes them at its own cost. Who makes room for another is of
/// the host that has the most here; of each host's handshakes one step is done in turn, and so many
/// are begun a second; and what comes faster than anybody migrates is closed unseen (``Listener``).
///
/// A source connects its main channel first and flushes it last, and opens its multifd channels in
/// any order, from the host from which the main channel comes. So channels may speak before the main
/// channel does, and wait here for it; those that were here long before the main channel connected
/// are none of its, and neither is who comes from another host, whatever he says or does not say.
public final class Lobby: Sendable {
  /// What the first bytes of a connection say.
  public enum Verdict: Equatable, Sendable {
    /// They do not suffice: so many bytes, counted from the first, are needed to go on.
    case undecided(needs: Int)
    /// A source's main channel.
    case main
    /// A multifd channel.
    case channel
    /// An introduction of so many bytes, which are to be taken.
    case letter(size: Int)
    /// None of a source's.
    case stranger(Stranger)
  }

  /// What has become of a connection.
  public enum Arrival: Sendable {
    /// It is a main channel.
    case main(Socket)
    /// It is a multifd channel, and a main channel has come before.
    case channel(Socket)
    /// It has brought an introduction, of the size that was told.
    case letter(Socket, [UInt8])
    /// It was closed.
    case stranger(Stranger, from: Origin)
    /// A connection cannot be accepted: it waits, and it is tried again.
    case trouble(SystemError)
  }

  private let listener: Listener
  private let counted = Atomic(0)
  private let examine: @Sendable (UnsafeRawBufferPointer) -> Verdict
  /// How much earlier than its main channel a source's other channel can be accepted: a handshake's
  /// last packet may have to be sent again, after one second and after two more.
  private let mostLead: Duration
  /// How many may be here at once.
  private let places: Int
  /// How many connections are accepted before those that are here are looked at again.
  private static let batch = 64
  /// How long one that connected before the main channel, and so is hardly its source's, may stay
  /// silent.
  private static let grace = Duration.seconds(1)

  /// A lobby in front of a listener.
  ///
  /// - Parameter examine: tells what the first bytes of a connection say; they are valid for the
  ///   call.
  public convenience init(
    _ listener: Listener, examine: @escaping @Sendable (UnsafeRawBufferPointer) -> Verdict
  ) {
    self.init(listener, mostLead: .seconds(3), examine: examine)
  }

  package init(
    _ listener: Listener, mostLead: Duration, places: Int? = nil,
    examine: @escaping @Sendable (UnsafeRawBufferPointer) -> Verdict
  ) {
    self.listener = listener
    self.mostLead = mostLead
    self.places = places ?? Self.maxVisitors
    self.examine = examine
  }

  /// Accepts and identifies until ``close()``, or until nobody is here and nobody else can come.
  /// Runs in a thread of its own.
  ///
  /// - Parameters:
  ///   - onConnect: called for every connection that is let in, before it is identified.
  ///   - onLeave: called once for each of them, when it is not anonymous any more: after
  ///     `onArrival`.
  ///   - onArrival: called once for every connection, and when none can be accepted.
  public func run(
    onConnect: (Origin) -> Void = { _ in }, onLeave: (Origin) -> Void = { _ in },
    onArrival: (Arrival) -> Void
  ) {
    var visitors: [Visitor] = []
    /// Where the main channel has come from.
    var source: Origin?
    var acceptsAt = ContinuousClock.now
    /// How many have been accepted since the queue was empty.
    var inRow = 0
    var handshakes = Handshakes()
    let limit = Duration.seconds(listener.timeout.timeLimit)
    func leave(_ visitor: Visitor, _ arrival: Arrival) {
      onArrival(arrival)
      onLeave(visitor.origin)
    }
    func turnAway(_ visitor: Visitor, _ stranger: Stranger) {
      leave(visitor, .stranger(stranger, from: visitor.origin))
    }
    func dismiss() {
      guard let index = Origin.surplus(of: visitors.lazy.map(\.origin)) else { return }
      let visitor = visitors.remove(at: index)
      turnAway(visitor, visitor.isChannel ? .alone : .silent(after: 0))
    }
    while !(listener.isExhausted && visitors.isEmpty) {
      var polled = [pollfd(fd: listener.descriptor, events: 0, revents: 0)]
      let now = ContinuousClock.now
      if acceptsAt <= now { polled[0].events = Int16(POLLIN) }
      polled += visitors.map { visitor in
        let looks = !visitor.isChannel && visitor.nextLook <= now
        let events = looks ? visitor.handshake ?? Int16(POLLIN) : 0
        return pollfd(
          fd: visitor.socket.descriptor, events: events | Socket.hangUp, revents: 0)
      }
      let patience = patience(visitors, acceptsAt, now)
      guard poll(&polled, nfds_t(polled.count), patience) >= 0 || errno == EINTR else { return }
      if polled[0].revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { return }
      if listener.hasEnded { return }

      var staying: [Visitor] = []
      var main: Visitor?
      handshakes.beginRound()
      for (var visitor, entry) in zip(visitors, polled.dropFirst()) {
        switch visitor.look(entry.revents, &handshakes, examine) {
        case .undecided: staying.append(visitor)
        case .channel where source == nil: staying.append(visitor)
        case .channel where visitor.origin != source: turnAway(visitor, .elsewhere)
        case .channel: leave(visitor, .channel(visitor.socket))
        case .letter: leave(visitor, .letter(visitor.socket, visitor.letter?.bytes ?? []))
        case .stranger(let stranger): turnAway(visitor, stranger)
        case .main:
          leave(visitor, .main(visitor.socket))
          if source == nil { (main, source) = (visitor, visitor.origin) }
        }
      }
      visitors = staying
      if let main {
        visitors = []
        for var visitor in staying {
          if visitor.isChannel {
            if visitor.origin != main.origin {
              turnAway(visitor, .elsewhere)
            } else if main.since - visitor.since > mostLead {
              turnAway(visitor, .alone)
            } else {
              leave(visitor, .channel(visitor.socket))
            }
            continue
          }
          if visitor.since < main.since {
            visitor.isEarly = true
            visitor.deadline = min(visitor.deadline, .now + Self.grace)
          }
          visitors.append(visitor)
        }
      }

      guard polled[0].revents & Int16(POLLIN) != 0 else { continue }
      do throws(SystemError) {
        for _ in 0..<Self.batch {
          let accepted = try listener.accept()
          inRow = accepted == nil ? 0 : (inRow + 1) % Listener.backlog
          if inRow == 0 { counted.add(1, ordering: .relaxed) }
          guard let accepted else { break }
          guard case .socket(let socket) = accepted, let origin = socket.origin else {
            if case .crowd(let origin) = accepted { onArrival(.stranger(.crowd, from: origin)) }
            continue
          }
          visitors.append(Visitor(socket, from: origin, within: limit))
          onConnect(origin)
          if visitors.count > places { dismiss() }
        }
      } catch {
        // Somebody makes room; whether that is enough shows in a moment.
        dismiss()
        onArrival(.trouble(error))
        acceptsAt = .now + .milliseconds(100)
      }
    }
  }

  /// Whether a connection is there that has not been accepted yet.
  public var isKnocked: Bool {
    var entry = pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLIN) != 0
  }

  /// How often all were let in who were there at some moment. It rises where ``isKnocked`` has no
  /// end, too.
  public var passes: Int { counted.load(ordering: .relaxed) }

  /// Ends ``run(onConnect:onLeave:onArrival:)``; connections that are still here are closed.
  public func close() { listener.end() }

  /// Milliseconds until something is due without anybody's word.
  private func patience(
    _ visitors: [Visitor], _ acceptsAt: ContinuousClock.Instant, _ now: ContinuousClock.Instant
  ) -> Int32 {
    var due = visitors.map(\.deadline)
    due += visitors.filter { !$0.isChannel && $0.nextLook > now }.map(\.nextLook)
    if acceptsAt > now { due.append(acceptsAt) }
    guard let next = due.min() else { return -1 }
    // Rounded up, so that it is over then; a minute is soon enough to count again.
    return Int32(min(max((next - now) / .milliseconds(1), 0).rounded(.up), 60_000))
  }

  /// Connections that say nothing must not use up the descriptors that a source and its guest need.
  /// Half of them is what a source with all the channels that there can be has here, and what it is
  /// left beside a host that takes all it can get.
  private static var maxVisitors: Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return max(16, Int(clamping: min(limit.rlim_cur / 4, 600)))
  }
}
