import Migration
import Observe
import Synchronization
import System
import Transport
import Wire

/// What the threads of a hand-over share beside their session, and a signal: how far it is.
final class HandoverControl: Sendable {
  /// How far a destination has come, by its own word.
  enum Stage: Sendable {
    /// It has not answered yet: a stock QEMU does once all of its connections are there.
    case waiting
    /// It loads RAM. It cannot start the guest.
    case ram
    /// It may have all that it needs, and start the guest.
    case devices

    /// For a status.
    var word: String {
      switch self {
      case .waiting: "connecting"
      case .ram: "sending"
      case .devices: "switching over"
      }
    }

    /// When, for a message.
    var text: String {
      switch self {
      case .waiting: "before it began to load"
      case .ram: "while it loaded the RAM"
      case .devices: "while it loaded the devices"
      }
    }
  }

  private let session: Session
  private let now = Mutex(Stage.waiting)
  /// The destination has the guest.
  let settled: @Sendable () -> Void
  private let left = Atomic(false)
  private let source = Mutex<PageSource?>(nil)
  /// What each connection has moved, the main channel's first.
  let moved = Mutex<[(id: String, counters: Counters)]>([])
  /// What a status tells of the guest.
  struct Facts {
    /// Its machine type.
    var machine: String?
    /// Bytes of its RAM.
    var ram: UInt64?
    /// Names of the backends that it goes by.
    var backends: [String] = []
    /// What the method bits of its packets mean.
    var dialect = PacketDialect.qemu
  }

  let facts = Mutex(Facts())

  /// - Parameters:
  ///   - onFailure: told of the first failure, from whatever thread notices it.
  ///   - settled: told when the destination has said that it has the guest.
  init(
    timeout: Double, onFailure: @escaping @Sendable (Failure) -> Void,
    settled: @escaping @Sendable () -> Void
  ) {
    session = Session(timeout: timeout, onFailure: onFailure)
    self.settled = settled
  }

  /// Threads were left behind: see ``Sender/hasLeftThreads``.
  var hasLeftThreads: Bool { left.load(ordering: .relaxed) }

  /// Waits for threads whose connections have been cut: not for one that is inside a backend.
  func join(_ threads: ThreadGroup) {
    if !threads.joinAll(within: 1) { left.store(true, ordering: .relaxed) }
  }

  /// The first failure.
  var failure: Failure? { session.failure }
  /// How far it is.
  var stage: Stage { now.withLock { $0 } }

  /// Pages that nobody waits for after a failure: one of the workers may be inside a backend for
  /// ever.
  func adopt(_ pages: PageSource) { source.withLock { $0 = pages } }

  /// A connection that a failure cuts from now on.
  func adopt(_ socket: Socket) throws(Failure) { try session.adopt(socket) }

  /// It goes on, if nothing has failed.
  func enter(_ stage: Stage) throws(Failure) {
    // In this order: a failure from here on knows the stage, and one that did not know it is found
    // below.
    let before = now.withLock { now in
      defer { now = stage }
      return now
    }
    guard let failure else { return }
    now.withLock { $0 = before }
    throw failure
  }

  /// Ends it. Only the first failure counts: those after it are made by the connections that it
  /// cuts.
  func fail(_ failure: (Stage) -> Failure) {
    session.fail(failure(stage))
    source.withLock { $0 }?.abandon()
  }
}
