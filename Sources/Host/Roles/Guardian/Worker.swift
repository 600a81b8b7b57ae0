import CLinux
import Glibc
import Migration
import Synchronization
import System
import Transport

/// The process in which a role does its work, and in which alone backends run. See ``Guardian``.
public final class Worker: Sendable {
  private let line: WorkerLine
  private let page: WorkerPage
  private let threads = ThreadGroup()
  private let status = Mutex<(@Sendable () -> RoleStatus)?>(nil)
  /// Seconds between figures.
  private static let beat = 0.5

  init(_ line: WorkerLine, _ page: WorkerPage) {
    self.line = line
    self.page = page
  }

  /// Calls `cancel` when the guardian wants this process to end, `limit` when it wants it to send no
  /// more than so many bytes a second, and `hold` when it wants it to send nothing, or to go on.
  public func onCancel(
    _ cancel: @escaping @Sendable (Failure) -> Void,
    limit: @escaping @Sendable (UInt64) -> Void = { _ in },
    hold: @escaping @Sendable (Bool) -> Void = { _ in }
  ) {
    let line = line
    // Without it the guardian waits for a while, and then ends this process.
    try? threads.start("guardian") {
      while true {
        let received: WorkerLine.Received<GuardianMessage> = line.receive(milliseconds: -1)
        switch received {
        case .message(.cancel(let failure)): cancel(failure)
        case .message(.limit(let rate)): limit(rate)
        case .message(.hold(let holds)): hold(holds)
        case .nothing: continue
        case .closed: return
        }
      }
    }
  }

  /// A standby holds the guest as of the end of precopy.
  public func ready() { line.send(WorkerMessage.ready) }

  /// Something has failed, and all that is going on is being ended: how, `end(_:)` says, if it
  /// comes to that.
  public func failing(_ failure: Failure) { line.send(WorkerMessage.failing(failure)) }

  /// A primary's guest stands still for a checkpoint, or is about to be told to go on.
  public func primaryStands(_ stands: Bool) { page[.primaryStands] = stands }

  /// A primary is about to be told that there is a standby.
  public func isStandby() { page[.isStandby] = true }

  /// All of a guest has come, and its source waits for no verdict.
  public func isArrived() { page[.isArrived] = true }

  /// Where the guest is has been decided, and the peer knows: see ``Guardian/isSettled``.
  public func isSettled() { page[.isSettled] = true }

  /// Tells the guardian from here on, twice a second, what the role is doing, and at the end once
  /// more.
  public func publish(_ status: @escaping @Sendable () -> RoleStatus) {
    self.status.withLock { $0 = status }
    let line = line
    // Without it the figures stay what they are.
    try? threads.start("figures") {
      while true {
        line.sendIfRead(WorkerMessage.status(status()))
        usleep(UInt32(Self.beat * 1e6))
      }
    }
  }

  /// Ends the process. Nothing that is still running is waited for.
  func end(_ end: WorkerEnd) -> Never {
    if let status = status.withLock({ $0 }) {
      line.sendIfRead(WorkerMessage.status(status().ended(because: end.failure)))
    }
    line.send(WorkerMessage.ended(end))
    _exit(0)
  }
}
