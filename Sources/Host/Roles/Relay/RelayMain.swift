import Migration
import Observe
import Synchronization
import System
import Transport
import Wire

/// The main channel of a relay: both ways verbatim, as soon as it comes. What the destination says
/// is looked at on its way, for its verdict.
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
  func runForth(_ throttle: Throttle?) throws {
    let splice = try Splice()
    while case let count = try splice.some(atMost: 1 << 20, from: near, to: far, idle: true),
      count > 0
    {
      // Its small messages wait for an acknowledgement, and the guest with them.
      near.acknowledge()
      sent.moved(bytes: count)
      throttle?.pay(count)
    }
    flow.update { flow in
      flow.forthHasEnded = true
      flow.sourceWasFirst = !flow.backHasEnded
    }
    far.finishWriting()
  }

  /// From the destination to the source, to the end.
  func runBack() throws {
    var tap = VerdictTap(referencePages: referencePages)
    try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { bytes in
      while case let count = try far.read(into: bytes, idle: true), count > 0 {
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
    near.finishWriting()
  }
}

/// Reads along on a return path until something is said that is none of its messages: COLO's, when
/// it begins.
struct VerdictTap {
  /// What SHUT said.
  private(set) var verdict: UInt32?
  /// COLO has begun.
  private(set) var hasCheckpoints = false
  /// Something was said.
  private(set) var isHeard = false
  private var rest: [UInt8] = []
  private var isDeaf = false
  /// Of what comes first.
  private var reference: LinkReferenceDecoder?

  /// - Parameter referencePages: a reference comes first, of pages of so many bytes.
  init(referencePages: Int? = nil) {
    guard let referencePages else { return }
    var limits = StreamDecoder.Limits()
    limits.pageSize = referencePages
    reference = LinkReferenceDecoder(limits: limits)
  }

  /// The next bytes of the return path.
  mutating func look(at bytes: UnsafeRawBufferPointer) {
    guard !isDeaf else { return }
    rest += bytes
    skipReference()
    isHeard = isHeard || reference == nil && !rest.isEmpty
    guard reference == nil, !isDeaf else { return }
    var at = 0
    rest.withUnsafeBytes { rest in
      while true {
        let left = UnsafeRawBufferPointer(rebasing: rest[at...])
        guard let step = try? ReturnPathMessage.decode(left, at: 0) else {
          isDeaf = true
          // Its messages are small numbers of 32 bits, and no type of a return path is 0.
          hasCheckpoints = left.starts(with: [0, 0])
          return
        }
        guard case .message(let message, let consumed) = step else { return }
        if case .shut(let value) = message { verdict = value }
        at += consumed
      }
    }
    rest.removeFirst(isDeaf ? rest.count : at)
  }

  /// A reference that breaks a rule is for the source to refuse.
  private mutating func skipReference() {
    guard var decoder = reference else { return }
    var at = 0
    let step = rest.withUnsafeBytes { bytes -> LinkReferenceDecoder.Step? in
      while true {
        let left = UnsafeRawBufferPointer(rebasing: bytes[at...])
        guard let step = try? decoder.next(left) else { return nil }
        guard case .element(_, let consumed) = step else { return step }
        at += consumed
      }
    }
    rest.removeFirst(at)
    reference = step == .end || step == nil ? nil : decoder
    if step == nil { (isDeaf, rest) = (true, []) }
  }
}
