import Migration
import Observe
import Synchronization
import System
import Transport
import Wire

/// The main channel of a relay: both ways verbatim, as soon as it comes. What the destination says
/// is looked at on its way, for its verdict.
///
/// One thing waits: the first sync point, until all channels are on their way. Whoever counts the
/// channels on the other side does so there, for a source has all of them by then (``Session``); on
/// the way through here they would be overtaken.
///
/// So is its end: where TLS was not ended by the one that closed it, it is not ended on the other
/// side either. Whether that may be is for those at the ends, who know what was to come.
final class RelayMain: Sendable {
  /// How far the two directions are.
  struct Flow: Sendable {
    /// The source has said all it has to say.
    var forthHasEnded = false
    /// The destination has.
    var backHasEnded = false
    /// The destination has said something: there is a return path.
    var isHeard = false
    /// What SHUT said.
    var verdict: UInt32?
    /// Checkpoints are being taken: the guest stays where it is, whatever SHUT has said.
    var isProtection = false
    /// The source was the first to end.
    var sourceWasFirst = false
    /// It waits for no verdict, and what it has said ends as the stream of a migration does.
    var isWhole = false
  }

  let flow = Monitor(Flow())
  /// To the far side.
  let sent = Counters()
  private let near: Socket
  private let far: Socket
  private let referencePages: Int?

  /// - Parameter referencePages: before its return path the destination sends a reference, of pages
  ///   of so many bytes.
  init(_ near: Socket, _ far: Socket, _ referencePages: Int?) {
    self.near = near
    self.far = far
    self.referencePages = referencePages
  }

  /// From the source to the destination, to the end.
  ///
  /// - Parameter onSyncPoint: waits for the channels; called once, before the first sync point is
  ///   passed on.
  func runForth(_ throttle: Throttle, onSyncPoint: () throws(Failure) -> Void) throws {
    near.acceptAbruptEnd()
    let opening = try passOpening(throttle, onSyncPoint)
    if opening.isAnswered { try passUnseen(throttle) } else { try passToItsEnd(throttle) }
    flow.update { flow in
      flow.forthHasEnded = true
      flow.sourceWasFirst = !flow.backHasEnded
    }
    far.finishWriting(as: near)
  }

  /// Of a source that is told how it went.
  private func passUnseen(_ throttle: Throttle) throws {
    let splice = try Splice()
    while case let count = try next({ () throws(TransportError) in
      try splice.some(atMost: 1 << 20, from: near, to: far, idle: true)
    }), count > 0 {
      // Its small messages wait for an acknowledgement, and the guest with them.
      near.acknowledge()
      sent.moved(bytes: count)
      throttle.pay(count)
    }
  }

  /// Of one that is not: a process that was killed closes its connections as one does that is done,
  /// and only the last bytes tell the one from the other.
  private func passToItsEnd(_ throttle: Throttle) throws {
    var tail = StreamTail()
    try withUnsafeTemporaryAllocation(byteCount: 1 << 17, alignment: 16) { bytes in
      while case let count = try next({ () throws(TransportError) in
        try near.read(into: bytes, idle: true)
      }), count > 0 {
        near.acknowledge()
        // recv(2) has filled so many bytes.
        let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        tail.look(at: part)
        try far.write(part)
        sent.moved(bytes: count)
        throttle.pay(count)
      }
    }
    let isWhole = tail.isWhole
    flow.update { $0.isWhole = isWhole }
  }

  /// What a source says before its first sync point, and that.
  private func passOpening(
    _ throttle: Throttle, _ onSyncPoint: () throws(Failure) -> Void
  ) throws -> StreamOpening {
    var opening = StreamOpening()
    try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { bytes in
      func pass(_ part: [UInt8]) throws {
        try part.withUnsafeBytes { part throws in try far.write(part) }
        sent.moved(bytes: part.count)
        throttle.pay(part.count)
      }
      while !opening.isOver,
        case let count = try next({ () throws(TransportError) in
          try near.read(into: bytes, idle: true)
        }), count > 0
      {
        near.acknowledge()
        // recv(2) has filled so many bytes.
        try pass(opening.take(UnsafeRawBufferPointer(rebasing: bytes[..<count])))
      }
      if opening.isOver { try onSyncPoint() }
      try pass(opening.rest)
    }
    return opening
  }

  /// From the destination to the source, to the end.
  func runBack() throws {
    far.acceptAbruptEnd()
    var tap = VerdictTap(referencePages: referencePages)
    try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { bytes in
      while case let count = try next({ () throws(TransportError) in
        try far.read(into: bytes, idle: true)
      }), count > 0 {
        far.acknowledge()
        // recv(2) has filled so many bytes.
        let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        tap.look(at: part)
        let (verdict, isHeard, isProtection) = (tap.verdict, tap.isHeard, tap.hasCheckpoints)
        flow.update { flow in
          (flow.isHeard, flow.verdict, flow.isProtection) = (isHeard, verdict, isProtection)
        }
        try near.write(part)
      }
    }
    flow.update { $0.backHasEnded = true }
    near.finishWriting(as: far)
  }

  /// What comes next. Who has all that he waits for closes his connection, and TLS's goodbye to him
  /// is unread then: the kernel tells that as a reset, and it is no more than the end.
  private func next(_ body: () throws(TransportError) -> Int) throws(TransportError) -> Int {
    do throws(TransportError) { return try body() } catch {
      let isSettled = flow.read { $0.verdict == 0 && !$0.isProtection }
      guard isSettled, error.kind == .reset, near.encryption != nil || far.encryption != nil else {
        throw error
      }
      return 0
    }
  }
}
