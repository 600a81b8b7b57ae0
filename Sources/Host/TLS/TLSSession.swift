import Glibc
import Synchronization
import System

/// TLS on a connected socket, as a socket is used: one thread reads while another one writes, each
/// waits as the socket's own time limits say, and whoever shuts the socket down wakes both.
///
/// GnuTLS has one state for both directions where TLS 1.3 changes keys: who receives a change of
/// the peer's touches what sending goes by, and the other way round. After so many records each
/// side changes its keys by itself (2^24 with AES-GCM), so a session that two threads use without a
/// lock breaks just then; QEMU's did. So there is a lock, which nobody holds while he waits: the
/// record layer never waits, and poll(2) is outside. To hold it is at most to open or close one
/// record, a few microseconds; on a multifd channel nobody else wants it.
public final class TLSSession: Sendable {
  private struct State: Sendable {
    let records: RecordLayer
    /// Opened records' bytes that were looked at and not taken.
    var ahead: [UInt8] = []
    /// What a record's sending was interrupted in.
    var isHalfSent = false
    /// Why nothing can be sent any more: a write was given up inside a record, and whatever came
    /// next would be taken for its rest. What the peer says can still be read.
    var cutShort: TLSError?
    /// How reading, or the peer, has ended.
    var end: RecordLayer.Step?
    var failure: TLSError?
  }

  private let descriptor: Int32
  private let state: Mutex<State>

  /// A session whose handshake has not begun.
  ///
  /// - Parameters:
  ///   - descriptor: a connected stream socket, which outlives it.
  ///   - name: whose certificate the other side must have; of the side that connects.
  public init(
    _ descriptor: Int32, _ credentials: TLSCredentials, name: String? = nil
  ) throws(TLSError) {
    self.descriptor = descriptor
    state = Mutex(State(records: try RecordLayer(descriptor, credentials, name: name)))
  }

  /// What was agreed: `TLS1.3, AES-128-GCM`.
  public var description: String { state.withLock { $0.records.description } }

  // MARK: The handshake

  /// Goes on with the handshake as far as that goes without waiting.
  ///
  /// - Returns: the events that it waits for; nil when it is done.
  public func shake() throws(TLSError) -> Int16? {
    let step = try state.withLock { state throws(TLSError) in try state.records.handshake() }
    switch step {
    case .waits(let events): return events
    case .done: return nil
    case .goodbye, .cut:
      throw TLSError(.ended, "it closed the connection instead of a handshake for TLS")
    }
  }

  /// Does the handshake.
  ///
  /// - Parameter seconds: how long all of it may take.
  public func shake(within seconds: Double) throws(TLSError) {
    let deadline = ContinuousClock.now + .seconds(seconds.timeLimit)
    while let events = try shake() {
      guard Poll.wait(for: events, on: descriptor, until: deadline) else {
        throw TLSError(.silent, "no handshake for TLS within \(seconds) s")
      }
    }
  }

  // MARK: Reading

  /// Takes what has come, without waiting.
  ///
  /// - Returns: how many bytes; 0 when the peer has said that nothing follows; nil when nothing has
  ///   come.
  /// - Throws: `ended` where the connection has ended and the peer has not said so.
  public func receiveNow(_ buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int? {
    try state.withLock { state throws(TLSError) in
      if !state.ahead.isEmpty {
        let count = min(buffer.count, state.ahead.count)
        buffer.copyBytes(from: state.ahead[..<count])
        state.ahead.removeFirst(count)
        return count
      }
      return try Self.receive(&state, buffer)
    }
  }

  /// Takes at least a byte, and at most what fits; waits as long as the socket's reads do.
  ///
  /// - Throws: `silent` when that is over.
  public func receive(_ buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int {
    while true {
      if let count = try receiveNow(buffer) { return count }
      try wait(Int16(POLLIN), SO_RCVTIMEO)
    }
  }

  /// Looks at what has come without taking it, and without waiting for more.
  ///
  /// - Returns: how many bytes of the buffer are filled; 0 where the connection has ended before
  ///   any; nil where nothing has come.
  public func peek(_ buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int? {
    try state.withLock { state throws(TLSError) in
      let known = min(state.ahead.count, buffer.count)
      buffer.copyBytes(from: state.ahead[..<known])
      var count = known
      while count < buffer.count {
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
        let got: Int?
        do throws(TLSError) { got = try Self.receive(&state, rest) } catch {
          // It is met again behind what there is.
          if count > 0 { break }
          throw error
        }
        guard let got else { return count > 0 ? count : nil }
        if got == 0 { break }
        state.ahead += rest[..<got]
        count += got
      }
      return count
    }
  }

  /// Waits until there is something to take, or the connection has ended.
  ///
  /// A socket that is readable may bring only a part of a record, or one that is none of the
  /// peer's: so a byte is taken, and kept.
  public func waitReadable(until deadline: ContinuousClock.Instant) -> Bool {
    while true {
      let isReadable = state.withLock { state in
        if !state.ahead.isEmpty || state.records.pending > 0 { return true }
        return withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { buffer in
          guard let count = try? Self.receive(&state, buffer) else {
            return state.end != nil || state.failure != nil
          }
          state.ahead += buffer[..<count]
          return true
        }
      }
      if isReadable { return true }
      guard Poll.wait(for: Int16(POLLIN), on: descriptor, until: deadline) else { return false }
    }
  }

  /// The most that a record holds.
  public static let recordSize = RecordLayer.recordSize

  private static func receive(
    _ state: inout State, _ buffer: UnsafeMutableRawBufferPointer
  ) throws(TLSError) -> Int? {
    if let failure = state.failure { throw failure }
    if state.end == nil {
      let step: RecordLayer.Step
      do throws(TLSError) { step = try state.records.receive(buffer) } catch {
        state.failure = error
        throw error
      }
      switch step {
      case .done(let count): return count
      case .waits: return nil
      case .goodbye, .cut: state.end = step
      }
    }
    guard state.end == .goodbye else {
      throw TLSError(.ended, state.records.isHeard ? "it cut the connection" : Self.silently(state))
    }
    return 0
  }

  /// A QEMU says nothing where it does not accept a certificate, and where it needs one, TLS 1.3
  /// shows that behind the handshake only.
  private static func silently(_ state: State) -> String {
    "it cut the connection without a word"
      + (state.records.isAnonymous
        ? ": perhaps since there is no client-cert.pem" : ", as who does not accept this side does")
  }

  // MARK: Writing

  /// Sends all of it; waits as long as the socket's writes do.
  public func send(_ bytes: UnsafeRawBufferPointer) throws(TLSError) {
    var rest = bytes
    while !rest.isEmpty {
      let step = try state.withLock { state throws(TLSError) -> RecordLayer.Step in
        if let failure = state.failure ?? state.cutShort { throw failure }
        let step: RecordLayer.Step
        do throws(TLSError) {
          step = try state.records.send(rest, again: state.isHalfSent)
        } catch {
          // What the peer has said before it closed the connection is the better reason.
          _ = withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) {
            try? Self.receive(&state, $0)
          }
          throw state.failure ?? error
        }
        if case .waits = step { state.isHalfSent = true } else { state.isHalfSent = false }
        return step
      }
      switch step {
      case .done(let count): rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      case .waits(let events):
        do throws(TLSError) { try wait(events, SO_SNDTIMEO) } catch {
          state.withLock { $0.cutShort = error }
          throw error
        }
      case .goodbye, .cut: throw TLSError(.system(EPIPE), "it takes nothing any more")
      }
    }
  }

  /// Says that nothing follows. Whoever does not want to hear it is gone.
  public func sayGoodbye() {
    while true {
      let step = try? state.withLock { state throws(TLSError) in
        // Inside a record nothing else can be said.
        state.isHalfSent || state.failure != nil ? .done(0) : try state.records.sayGoodbye()
      }
      guard case .waits(let events) = step, (try? wait(events, SO_SNDTIMEO)) != nil else { return }
    }
  }

  /// Sends with new keys from here on; for the thread that writes.
  package func rekey() throws(TLSError) {
    while case .waits(let events) = try state.withLock({ state throws(TLSError) in
      try state.records.rekey()
    }) {
      try wait(events, SO_SNDTIMEO)
    }
  }

  // MARK: Waiting

  /// Waits for an event, as long as the socket's own calls would.
  private func wait(_ events: Int16, _ limit: Int32) throws(TLSError) {
    var time = timeval()
    var size = socklen_t(MemoryLayout<timeval>.size)
    getsockopt(descriptor, SOL_SOCKET, limit, &time, &size)
    let seconds = Double(time.tv_sec) + Double(time.tv_usec) / 1e6
    // As the kernel has it: none is for ever.
    let deadline = seconds > 0 ? ContinuousClock.now + .seconds(seconds) : nil
    guard Poll.wait(for: events, on: descriptor, until: deadline) else {
      throw TLSError(.silent, "it is silent")
    }
  }
}
