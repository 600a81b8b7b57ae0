// Holder: what a protected guest sends waits until the checkpoint is committed that knows of it.

import Migration
import System
import Transport

/// Holds the packets of one interface of a guest.
///
/// A pair of filter-redirectors in the primary's QEMU (``Redirectors``) sends every packet of the
/// guest here, and puts on the wire what comes back. Everything is read as it comes, so that QEMU
/// never waits, and written as QEMU reads it; in between packets wait, in order, whatever protocol
/// they are of.
///
/// Which checkpoint knows of a packet is told by ``mark(_:)``: what QEMU has written before it. The
/// guest stands still from before VMSTATE_SEND until LOADED, and QEMU writes a packet before it
/// goes on to the next, so at VMSTATE_SEND all that the guest had sent is in the socket.
public final class PacketHolder: Sendable {
  /// The most that is read at once. A UNIX socket holds less.
  private static let mostAtOnce = 1 << 22

  private struct State: Sendable {
    var splitter = FrameSplitter()
    var queue: FrameQueue
    var letsThrough = false
    var failure: Failure?
    var hasEnded = false
  }

  private let from: Socket
  private let to: Socket
  private let linger: Duration?
  private let onWaiting: @Sendable () -> Void
  private let onEnd: @Sendable (Failure?) -> Void
  private let watch: SocketWatch
  private let state: Monitor<State>
  private let threads = ThreadGroup()

  /// Connects to a pair of chardevs, and holds from then on, until ``end()``.
  ///
  /// - Parameters:
  ///   - from: where QEMU writes what the guest sends.
  ///   - to: where QEMU reads what is to go out.
  ///   - limit: bytes of memory that packets may take.
  ///   - linger: seconds that a packet waits before `onWaiting` is called; nil: it never is.
  ///   - onWaiting: asks for a checkpoint. Called again while something waits; from the holder's
  ///     thread, which reads nothing meanwhile: it has to return at once.
  ///   - onEnd: the holder has ended: without a failure because of ``end()``, else because a
  ///     connection has ended or said what is no packet. What was held is lost. From its thread.
  public init(
    from: Endpoint, to: Endpoint, limit: Int = 64 << 20, linger: Double? = nil,
    onWaiting: @escaping @Sendable () -> Void = {},
    onEnd: @escaping @Sendable (Failure?) -> Void = { _ in }
  ) throws(Failure) {
    do {
      self.from = try Socket.connect(to: from, timeout: 5)
      self.to = try Socket.connect(to: to, timeout: 5)
    } catch { throw Failure(error, at: "packets") }
    self.linger = linger.map { .seconds($0) }
    (self.onWaiting, self.onEnd) = (onWaiting, onEnd)
    state = Monitor(State(queue: FrameQueue(limit: limit)))
    do {
      watch = try SocketWatch()
      try threads.start("holder") { [self] in run() }
    } catch { throw Failure(.failed, "packets", "\(error)") }
  }

  // MARK: What the checkpoints say

  /// Checkpoint `number` knows of all that the guest has sent until now, for it stands still: reads
  /// what is in the socket, and notes the place. Numbers rise, until ``hold()``.
  public func mark(_ number: Int) {
    change { state in
      read(&state)
      state.queue.mark(number, at: .now)
    }
  }

  /// Checkpoint `number` is committed: what was marked for it, and for those before, leaves.
  public func release(_ number: Int) {
    change { $0.queue.release(number, at: .now) }
  }

  /// The guest is alone: what is held leaves, and so does what comes, at once.
  public func letThrough() {
    change { state in
      state.letsThrough = true
      state.queue.releaseAll(at: .now)
    }
  }

  /// What is held, and what comes, waits for marks from now on; those of before say nothing any
  /// more, for another standby counts anew.
  public func hold() {
    change { state in
      state.letsThrough = false
      state.queue.forgetMarks()
    }
  }

  private func change(_ body: (inout State) -> Void) {
    state.update { state in
      body(&state)
      write(&state)
    }
    // What it waits for may be another thing now.
    watch.ring()
  }

  // MARK: What is to be seen of it

  /// What has become of the packets.
  public var counts: PacketCounts { state.read { $0.queue.report } }

  /// Waits until QEMU has taken all that may leave, and nothing more comes: behind
  /// ``Redirectors/release``, before the rest is taken out.
  ///
  /// - Returns: false when that takes longer than `seconds`, or the holder has ended.
  @discardableResult
  public func settle(within seconds: Double) -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while true {
      let (isEmpty, hasEnded) = state.read { ($0.queue.isEmpty, $0.hasEnded) }
      if hasEnded { return false }
      if isEmpty, from.isEmpty, to.isTakenByPeer { return true }
      guard ContinuousClock.now < end else { return false }
      _ = state.wait(seconds: 0.001) { $0.hasEnded ? true : nil }
    }
  }

  /// Ends it, and waits for that. What is held is lost. Not from its callbacks.
  public func end() {
    state.update { $0.hasEnded = true }
    watch.ring()
    threads.joinAll()
  }

  // MARK: Its thread

  private func run() {
    while true {
      let next = state.update { state in
        read(&state)
        write(&state)
        return plan(state)
      }
      guard let next else { break }
      if let time = next.asksAt, time <= ContinuousClock.now {
        state.update { $0.queue.asked(at: .now) }
        onWaiting()
      } else {
        let wishes = [SocketWatch.Wish(from), SocketWatch.Wish(to, writes: next.writes)]
        watch.wait(wishes, until: next.asksAt)
      }
    }
    let failure = state.update { state in
      state.hasEnded = true
      return state.failure
    }
    from.cut()
    to.cut()
    onEnd(failure)
  }

  /// What the thread waits for; nil: nothing any more.
  private func plan(_ state: State) -> (asksAt: ContinuousClock.Instant?, writes: Bool)? {
    guard !state.hasEnded, state.failure == nil else { return nil }
    let asksAt = state.letsThrough ? nil : linger.flatMap { state.queue.asksAt(linger: $0) }
    return (asksAt, state.queue.hasReleased)
  }

  // MARK: With the lock held, and without waiting

  /// Reads what is there.
  private func read(_ state: inout State) {
    guard state.failure == nil, !state.hasEnded else { return }
    do {
      var sum = 0
      while sum < Self.mostAtOnce {
        let count = try state.splitter.fill { room throws(TransportError) in
          try from.readNow(into: room)
        }
        guard let count else { break }
        guard count > 0 else { throw Self.closed }
        sum += count
        let now = ContinuousClock.now
        while let frame = try state.splitter.next() { state.queue.append(frame, came: now) }
      }
      if state.letsThrough { state.queue.releaseAll(at: .now) }
      try checkEnd()
    } catch { state.failure = Self.failure(error) }
  }

  /// QEMU writes nothing where it reads; what there is to read is the end.
  private func checkEnd() throws {
    guard case .ended = to.end else { return }
    throw Self.closed
  }

  /// Writes what may leave, as far as there is room.
  private func write(_ state: inout State) {
    guard state.failure == nil, !state.hasEnded else { return }
    do {
      try state.queue.send { bytes throws(TransportError) in try to.writeNow(bytes) }
    } catch { state.failure = Failure(error, at: "packets") }
  }

  private static let closed = Failure(.failed, "packets", "QEMU has closed its connection")

  private static func failure(_ error: any Error) -> Failure {
    if let error = error as? TransportError { return Failure(error, at: "packets") }
    return error as? Failure ?? Failure(.failed, "packets", "\(error)")
  }
}
