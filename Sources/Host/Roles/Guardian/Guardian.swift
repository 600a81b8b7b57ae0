// Guardian: the process that outlives what a backend does, and what it does then.

import CLinux
import Glibc
import Memory
import Migration
import PluginLoader
import System
import Transport

/// The parent of the process that does a role's work.
///
///     guardian (the process that was started)        worker (its fork)
///     signals, --on-loss, spare QEMU, exit code      connections, backends, stage, store and its lock
///              <- status, ready, failing, ended -
///              - cancel ->
///
/// A backend is foreign code: it may crash, call exit(), or never come back. It does so in the
/// worker, and what was promised is kept here: whatever ends the worker becomes one line and an
/// exit code, a worker that does not end is ended, and what is to happen when a primary is lost
/// happens. The two share the entries of `BackendCalls`, so the line names backend, channel and
/// packet. When the guardian dies, the worker does.
///
/// A packet costs nothing here: no byte of a stream passes this process.
public final class Guardian: Sendable {
  private struct State {
    /// When the worker is to be ended, whatever it does.
    var deadline: ContinuousClock.Instant?
    /// Why it is ending, as far as is known.
    var failure: Failure?
    var isOver = false
  }

  private let role: String
  private let pid: pid_t
  private let line: WorkerLine
  private let callLimit: Double
  private let page: WorkerPage
  /// What the worker accepts from, where others may have it too.
  private let shared: Set<String>
  private let state = Monitor(State())

  /// Seconds that a worker may take to leave everything in order once something has failed.
  private static let grace = 5.0

  /// Forks. To be called before the process has a second thread, and where SIGCHLD is not ignored,
  /// which would take away how the worker ended: whoever starts the program may have done so, and
  /// the program's start sets that right.
  ///
  /// - Parameters:
  ///   - role: what the worker does, for messages: `receive`.
  ///   - callLimit: seconds that a callback of a backend may take, not counting its waits for
  ///     payload.
  ///   - sockets: what was passed to this process for the worker, and is left to it.
  ///   - work: what the worker does, in the worker.
  public init(
    _ role: String, callLimit: Double, passing sockets: [PassedSockets?] = [],
    _ work: (Worker) -> WorkerEnd
  ) throws(Failure) {
    self.role = role
    let sockets = sockets.compactMap(\.self)
    shared = Set(sockets.flatMap(\.listening))
    self.callLimit = callLimit
    do { page = try WorkerPage() } catch { throw Failure(error, at: "starting the worker") }
    // Made now, so that both have it.
    _ = BackendCalls.shared
    var pair: [Int32] = [0, 0]
    guard clinux_datagram_pair(&pair) == 0 else {
      throw Failure(SystemError("socketpair"), at: "starting the worker")
    }
    let (page, ends) = (page, pair)
    do {
      pid = try Fork.start("multifd-worker") { error in
        close(ends[1])
        clinux_leave_last_words(page.words)
        let worker = Worker(WorkerLine(ends[0]), page)
        if let error { worker.end(WorkerEnd(failure: Failure(error, at: role))) }
        worker.end(work(worker))
      }
    } catch {
      close(ends[0])
      close(ends[1])
      throw Failure(error, at: "starting the worker")
    }
    close(ends[0])
    line = WorkerLine(ends[1])
    // Whoever is at their other ends sees it when the worker is gone.
    for sockets in sockets { sockets.leave() }
  }

  /// A primary's guest stands still for a checkpoint, and has not been told to go on: if the worker
  /// ends now, it stands until somebody does something about it.
  public var primaryStands: Bool { page[.primaryStands] }

  /// A primary may know that there is a standby: it keeps what was held for it, whatever becomes of
  /// the worker.
  public var isStandby: Bool { page[.isStandby] }

  /// All of a guest has come, and its source waited for no verdict.
  public var isArrived: Bool { page[.isArrived] }

  /// Where the guest is has been decided, whatever becomes of the worker now: it is held, and its
  /// source knows; or it runs at its destination, which has said so.
  public var isSettled: Bool { page[.isSettled] }

  /// The worker is gone, with its lock of the store.
  public var isGone: Bool { state.read { $0.isOver } }

  /// Waits until a worker that has said how it ended, or has been ended, is gone.
  ///
  /// - Parameter seconds: at the most. It takes as long as the kernel takes to let go of its
  ///   memory.
  public func awaitEnd(within seconds: Double) {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while !isGone, .now < deadline {
      if reap() == nil { usleep(1000) }
    }
  }

  /// Has the worker end for a reason of this side's: a signal.
  public func cancel(_ kind: Failure.Kind, _ why: String) { cancel(Failure(kind, role, why)) }

  /// Has the worker send no more than so many bytes a second, where that is its role's; 0: as many
  /// as go.
  public func limit(bytesPerSecond: UInt64) { line.send(GuardianMessage.limit(bytesPerSecond)) }

  /// Has the worker send nothing on, or go on, where that is its role's.
  public func hold(_ holds: Bool) { line.send(GuardianMessage.hold(holds)) }

  /// Ends the worker at once: whoever asks twice does not want to wait.
  public func kill() {
    state.read { if !$0.isOver { Glibc.kill(pid, SIGKILL) } }
  }

  /// Has the worker end for a reason.
  public func cancel(_ failure: Failure) {
    line.send(GuardianMessage.cancel(failure))
    expectEnd(within: Self.grace, failure)
  }

  /// The worker is ending; what was said first counts, and the earliest deadline.
  private func expectEnd(within seconds: Double, _ failure: Failure?) {
    // A guest that has arrived, and perhaps has left its source, is held, however long that takes.
    let isArrived = page[.isArrived]
    state.update { state in
      state.failure = state.failure ?? failure
      guard !isArrived else { return }
      let deadline = ContinuousClock.now + .seconds(seconds)
      state.deadline = min(state.deadline ?? deadline, deadline)
    }
  }

  /// Waits for the worker's end.
  ///
  /// - Parameters:
  ///   - onReady: called once, when a standby holds the guest; is to return at once.
  ///   - onStatus: called whenever the worker has said what it is doing; is to return soon.
  /// - Returns: how it ended, in its own words or, if it could not say it, in ours.
  public func wait(
    onReady: () -> Void = {}, onStatus: (RoleStatus) -> Void = { _ in }
  ) -> WorkerEnd {
    var calls = CallWatch(limit: callLimit)
    var stalls = StallWatch(pid: pid, limit: callLimit)
    var status: Int32?
    while true {
      // Looked at first: what it said before it ended is read below.
      status = status ?? reap()
      let received: WorkerLine.Received<WorkerMessage> = line.receive(
        milliseconds: status == nil ? 100 : 0)
      switch received {
      case .message(.ready): onReady()
      case .message(.status(let status)): onStatus(status)
      case .message(.failing(let failure)):
        expectEnd(within: Self.grace, cause(of: failure, calls, stalls))
      case .message(.ended(let end)):
        // With nothing left that could touch the store or the guest nobody has to wait for the
        // rest.
        if !end.isOrderly { finish() }
        return end
      case .nothing, .closed:
        if let status { return end(status) }
        // poll(2) would go on saying that the line is closed.
        if case .closed = received { usleep(10_000) }
      }
      if !page[.isArrived], stalls.isStalled() {
        cancel(stalled(for: callLimit))
      } else if !stalls.isWaiting, let call = calls.stuck() {
        // Not for want of storage.
        cancel(Self.stuck(call, for: callLimit))
      }
      if let deadline = state.read({ $0.deadline }), .now >= deadline {
        finish()
        return WorkerEnd(
          failure: state.read { $0.failure } ?? Self.fault("worker", "it did not end"),
          isOrderly: false)
      }
    }
  }

  /// Why a worker fails that hears nothing from its peer: a channel of its own may stand meanwhile,
  /// and both clocks run. Silence for which there is a reason here proves nothing about the peer.
  private func cause(of failure: Failure, _ calls: CallWatch, _ stalls: StallWatch) -> Failure {
    guard failure.kind == .unreachable, failure.cause == .other else { return failure }
    // Tenths of a second will do.
    func told(_ seconds: Double) -> Double { (seconds * 10).rounded() / 10 }
    if stalls.longest > callLimit / 2 { return stalled(for: told(stalls.longest)) }
    if let longest = calls.longest, longest.seconds > callLimit / 2 {
      return Self.stuck(longest.call, for: told(longest.seconds))
    }
    return failure
  }

  private func stalled(for seconds: Double) -> Failure {
    Failure(
      .failed, "store", "its storage has not answered for \(seconds.formatted) s",
      hint: "pid \(pid) waits for it, and has the store locked until it answers")
  }

  private static func stuck(_ call: BackendCalls.Call, for seconds: Double) -> Failure {
    fault(call.place, "\(call.callback)() has not come back for \(seconds.formatted) s")
  }

  /// Ends a worker that does not end by itself.
  private func finish() {
    guard !isGone else { return }
    // They stay open as long as one of its threads stands, and it could not even be asked to close
    // them: whoever waits for storage may hold what every allocation needs.
    Connections(of: pid).reset(sparing: shared)
    kill()
    // One that is waiting for storage which does not answer dies when that does; nobody else waits
    // for it.
    awaitEnd(within: 2)
  }

  /// The worker's status as of wait(2), once it has ended.
  private func reap() -> Int32? {
    state.update { state in
      var status: Int32 = 0
      guard !state.isOver, waitpid(pid, &status, WNOHANG) == pid else { return nil }
      state.isOver = true
      return status
    }
  }

  private static func fault(_ what: String, _ why: String) -> Failure {
    var failure = Failure(.internalError, what, why)
    failure.cause = .workerFailed
    return failure
  }

  /// A worker that has ended without saying how.
  private func end(_ status: Int32) -> WorkerEnd {
    let calls = BackendCalls.shared.inside()
    // Written by the worker, which is gone.
    let left = page.words.pointee
    let verdict = Self.verdict(status, left, calls)
    guard var failure = state.read({ $0.failure }) else {
      return WorkerEnd(failure: verdict, isOrderly: false)
    }
    // What a backend does while everything is being ended takes nothing back of why.
    if left.signal != 0 || left.exited != 0 { failure.why += "; then \(verdict)" }
    return WorkerEnd(failure: failure, isOrderly: false)
  }

  /// One line about a worker that something else than itself has ended.
  static func verdict(
    _ status: Int32, _ left: clinux_last_words, _ calls: [BackendCalls.Call]
  ) -> Failure {
    let what: String
    if left.exited != 0 {
      what = "called exit(\(left.code))"
    } else if let code = WaitStatus(status).code {
      what = "ended the process with exit code \(code)"
    } else {
      let number = status & 0x7f
      let at = left.address != 0 ? " at address 0x\(String(left.address, radix: 16))" : ""
      what = "was ended by signal \(number) (\(String(cString: strsignal(number))))\(at)"
    }
    // Who did it, if that was told; else the only one who can have.
    let told = left.signal != 0 || left.exited != 0
    let suspects = told ? calls.filter { $0.thread == left.thread } : calls
    if suspects.count == 1, let call = suspects.first {
      return fault(call.place, "\(call.callback)() \(what)")
    }
    var failure = fault("worker", "it \(what)")
    if !calls.isEmpty {
      failure.why += " while inside of " + calls.map(\.place).sorted().joined(separator: "; ")
    } else if WaitStatus(status) == .signal(SIGKILL) {
      failure.hint = "the kernel does so when memory is short: see its log (dmesg)"
    }
    return failure
  }
}
