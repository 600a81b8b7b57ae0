import Migration
import Synchronization
import System

/// Why a protection, or an attempt at one, ends.
enum ProtectEnd: Error {
  /// The standby is of no use any more, or this attempt cannot be gone on with.
  case lost(Failure)
  /// The guest has ended by itself.
  case ended(String)
  /// There is no QEMU any more.
  case gone(Failure)
  /// The operator wants it: all stays as it is.
  case cancelled(Failure)

  /// For a role's end.
  var failure: Failure {
    switch self {
    case .lost(let failure), .gone(let failure), .cancelled(let failure): failure
    case .ended(let reason): .gone("guest", "it has ended by itself (\(reason))")
    }
  }

  /// What an answer that did not come, or was a no, means.
  init(_ error: MonitorError) {
    self = error.kind == .closed ? .gone(error.failure) : .lost(error.failure)
  }
}

/// What the threads of a protection share: what QEMU and the standby tell, for the one that acts.
final class ProtectState: Sendable {
  private struct Value {
    var end: ProtectEnd?
    /// The number of the attempt: what an earlier one's connections say is of no account.
    var attempt = 0
    var watchesMigration = false
    var watchesDisks = false
    /// Since when the guest stands still.
    var stopped: ContinuousClock.Instant?
    /// What the job of a mirror could not do last, as QEMU has told.
    var failures: [String: String] = [:]
    var line: ProtectLine
    /// Since when the guest has been alone, in seconds since 1970; nil while it is not.
    var alone: Double?
    var lastReason: String?
    /// How often it has become alone.
    var losses = 0
  }

  private let value: Monitor<Value>
  private let onShutdown = Mutex<@Sendable (String) -> Void>({ _ in })
  private let fence = Mutex<Child?>(nil)

  init(_ line: ProtectLine) { value = Monitor(Value(line: line)) }

  // MARK: The end

  /// Waits for an end.
  func wait(seconds: Double) throws(ProtectEnd) {
    if let end = value.wait(seconds: seconds, { $0.end }) { throw end }
  }

  /// Throws the end that has come, if any.
  func check() throws(ProtectEnd) {
    if let end = value.read({ $0.end }) { throw end }
  }

  /// Whether an end has come.
  var hasEnded: Bool { value.read { $0.end != nil } }

  /// The loss that was noticed first, if any.
  var loss: Failure? {
    value.read { value in
      if case .lost(let failure) = value.end { failure } else { nil }
    }
  }

  /// Throws an end after which nothing more is to be tried.
  func checkFinal() throws(ProtectEnd) {
    guard let end = value.read({ $0.end }) else { return }
    if case .lost = end { return }
    throw end
  }

  /// Waits; less where an end comes after which nothing more is to be tried.
  func pause(seconds: Double) {
    _ = value.wait(seconds: seconds) { value -> Void? in
      switch value.end {
      case nil, .lost: nil
      case .ended, .gone, .cancelled: ()
      }
    }
  }

  /// The first end counts, but for one that is stronger than a loss.
  ///
  /// - Returns: whether it is this one.
  @discardableResult
  func end(_ end: ProtectEnd, attempt: Int? = nil) -> Bool {
    let isThis = value.update { value in
      if let attempt, attempt != value.attempt { return false }
      if case .lost = end, value.end != nil { return false }
      switch value.end {
      case nil, .lost: value.end = end
      case .ended, .gone, .cancelled: return false
      }
      return true
    }
    guard isThis else { return false }
    if case .lost = end { return true }
    fence.withLock { $0?.kill() }
    return true
  }

  /// A fence that runs: an end after which nothing more is to be tried ends it, too.
  func adopt(_ child: Child) throws(ProtectEnd) {
    fence.withLock { $0 = child }
    try checkFinal()
  }

  /// It has ended, and its number may be another's.
  func disown() { fence.withLock { $0 = nil } }

  /// A new attempt: what has ended the one before is over, unless it ended everything.
  func begin() throws(ProtectEnd) -> Int {
    let (end, attempt) = value.update { value -> (ProtectEnd?, Int) in
      if case .lost = value.end { value.end = nil }
      value.attempt += 1
      value.watchesMigration = false
      value.watchesDisks = false
      value.stopped = nil
      return (value.end, value.attempt)
    }
    if let end { throw end }
    return attempt
  }

  // MARK: Events

  /// From now on an end of the migration is one of the protection.
  func watchMigration() { value.update { $0.watchesMigration = true } }

  /// From now on so is a mirror that fails.
  func watchDisks() { value.update { $0.watchesDisks = true } }

  /// What comes now comes of our own letting go.
  func watchNothing() {
    value.update { value in
      value.watchesMigration = false
      value.watchesDisks = false
    }
  }

  /// Who is told when the guest ends by itself, at once: its QEMU may end next.
  func onShutdown(_ body: @escaping @Sendable (String) -> Void) {
    onShutdown.withLock { $0 = body }
  }

  /// Since when the guest stands still, as QEMU has told.
  var stopped: ContinuousClock.Instant? { value.read { $0.stopped } }

  /// What a disk's mirror could not do last; nil where nobody has told.
  func failure(of disk: Assessment.Disk) -> String? {
    value.read { $0.failures[ProtectNames.job(disk.name)] }
  }

  /// An event of QEMU's.
  func handle(_ event: QMPEvent) {
    let job = event.data["device"] ?? ""
    let isOurs = job.hasPrefix(ProtectNames.prefix)
    let (migration, disks) = value.read { ($0.watchesMigration, $0.watchesDisks) }
    switch event.name {
    case "STOP": value.update { $0.stopped = .now }
    case "RESUME": value.update { $0.stopped = nil }
    case "SHUTDOWN":
      let reason = event.data["reason"] ?? "unknown"
      onShutdown.withLock { $0 }(reason)
      end(.ended(reason))
    case "COLO_EXIT" where migration:
      end(.lost(Failure(.failed, "qemu", "COLO has ended (\(event.data["reason"] ?? "unknown"))")))
    case "MIGRATION" where migration:
      guard let status = event.data["status"],
        ["failed", "completed", "cancelled"].contains(status)
      else { return }
      end(.lost(Failure(.failed, "qemu", "the migration has \(status)")))
    case "BLOCK_JOB_ERROR" where isOurs:
      let isRead = event.data["operation"] == "read"
      let what = isRead ? "cannot read the disk" : "cannot write to the standby"
      value.update { $0.failures[job] = what }
      if disks { end(.lost(Failure(.failed, "qemu", "the mirror \(job) \(what)"))) }
    case "BLOCK_JOB_COMPLETED" where disks && isOurs, "BLOCK_JOB_CANCELLED" where disks && isOurs:
      end(.lost(Failure(.failed, "qemu", "the mirror \(job) has ended")))
    default: break
    }
  }

  // MARK: What is shown

  /// Changes what is shown.
  func show(_ body: (inout ProtectLine) -> Void) { value.update { body(&$0.line) } }

  /// The guest is protected.
  func protect() {
    value.update { value in
      value.alone = nil
      value.line.enter(.protected)
    }
  }

  /// The standby is lost, and the guest waits for its fence.
  func fence(_ reason: String) { value.update { $0.line.enter(.fencing, reason: reason) } }

  /// The guest is alone, or still is.
  ///
  /// - Returns: since when, and whether the reason is another one than was shown last.
  func lose(_ reason: String) -> (since: Double, isNew: Bool) {
    value.update { value in
      let isNew = value.lastReason != reason || value.alone == nil
      if value.alone == nil { value.losses += 1 }
      value.line.enter(.unprotected, reason: reason)
      let since = value.alone ?? value.line.since
      (value.alone, value.line.since, value.lastReason) = (since, since, reason)
      return (since, isNew)
    }
  }

  /// How often protection was lost.
  var losses: Int { value.read { $0.losses } }

  /// What is shown.
  var line: ProtectLine { value.read { $0.line } }
}
