import Foundation
import Glibc
import Memory
import Migration
import Store
import System
import Transport

/// The process, the monitor and the folder of a QEMU that was started on a store's RAM files with
/// `-incoming defer`.
final class WaitingQEMU {
  /// Its process.
  let child: Child
  /// Milliseconds until its monitor answered.
  let startTime: Double
  private let line: QEMUCommandLine
  private let monitor: QMPConnection
  private let output: QEMULog
  private let folder: PrivateFolder
  private let store: String
  private let timeout: Double
  private let log: (String) -> Void

  /// Starts one.
  ///
  /// - Parameters:
  ///   - store: its real path.
  ///   - started: gets the process at once, which another thread may then end; may refuse it.
  ///   - isRehearsal: it is ended soon, and a spare that waits on the same store stays known.
  init(
    _ options: FailoverOptions, store: String, blocks: [Manifest.Block], isRehearsal: Bool,
    log: @escaping (String) -> Void, started: (Child) throws -> Void
  ) throws {
    let start = ContinuousClock.now
    let output = try QEMULog(path: options.qemuLog ?? store + "/qemu.log")
    let folder = try PrivateFolder()
    let line = try QEMUCommandLine(
      options.command, store: store, blocks: blocks, qmp: folder.path + "/qmp")
    for words in line.leftOut { log("left out \(words) of QEMU's arguments") }
    let child = try QEMUProcess.start(
      line.arguments, output: output.descriptor, outlives: true)
    do {
      if !isRehearsal || SpareRecord.waiting(store) == nil {
        SpareRecord.write(child.pid, store: store)
      }
      log("started \(options.command[0]), pid \(child.pid)")
      try started(child)
      monitor = try QMPConnection(
        path: folder.path + "/qmp", timeout: options.timeout, alive: { child.isAlive },
        onEvent: { log("qemu: \($0.name)") })
    } catch {
      let failure = Self.blaming(
        SpareRecord.waiting(store), for: Self.explained(error, child, output), child)
      Self.end(child, line.pidFile, store)
      throw failure
    }
    startTime = (ContinuousClock.now - start) / .milliseconds(1)
    timeout = options.timeout
    (self.child, self.line, self.output, self.folder) = (child, line, output, folder)
    (self.store, self.log) = (store, log)
  }

  /// What failed at the start may be in the hands of a spare that waits on the same store.
  private static func blaming(_ spare: pid_t?, for failure: Failure, _ child: Child) -> Failure {
    guard let spare, spare != child.pid, !failure.isSignal else { return failure }
    var failure = failure
    failure.hint =
      "pid \(spare), a spare QEMU of this store, may hold what this one needs: a display, a pidfile, a tap"
    return failure
  }

  /// Asks it how a guest's blocks come into it.
  func fit(_ blocks: [Manifest.Block]) throws -> MemoryFit {
    let backends = try monitor.execute("query-memdev").elements
    let shared = backends.compactMap { $0["share"].bool == false ? nil : $0["id"].string }
    return try MemoryFit(
      blocks, mapped: line.mapped, ramblock: try monitor.human("info ramblock"),
      shared: Set(shared))
  }

  /// Lets it wait for a guest.
  ///
  /// - Returns: the connection that the guest goes over.
  func listen() throws -> Socket {
    try monitor.execute("migrate-incoming", ["uri": .string("unix:\(folder.path)/migrate")])
    return try Socket.connect(to: .unix(path: folder.path + "/migrate"), timeout: timeout)
  }

  /// What `query-status` says.
  func status() throws -> String {
    try monitor.execute("query-status")["status"].string ?? ""
  }

  /// Has its guest run.
  func start() throws { _ = try monitor.execute("cont") }

  /// Waits until it has loaded what it got.
  ///
  /// - Parameter seconds: how long at the most; nil: the time-out.
  /// - Returns: what `query-status` says then.
  func waitLoaded(_ seconds: Double?) throws -> String {
    let deadline = ContinuousClock.now + .seconds(seconds ?? timeout)
    while true {
      let status = try status()
      if status != "inmigrate" && status != "finish-migrate" { return status }
      guard ContinuousClock.now < deadline else {
        throw Failure(.unreachable, "qemu", "it has the guest but stays in \(status)")
      }
      usleep(500)
    }
  }

  /// It is going to have the guest: nobody may end it for an orphan.
  func disown() { SpareRecord.remove(child.pid, store: store) }

  /// Ends it.
  func kill() { Self.end(child, line.pidFile, store) }

  private static func end(_ child: Child, _ pidFile: String?, _ store: String) {
    child.kill()
    SpareRecord.remove(child.pid, store: store)
    // It could not remove that itself, and it says where a guest is.
    if let pidFile, let text = FileManager.default.contents(atPath: pidFile),
      String(decoding: text, as: UTF8.self) == "\(child.pid)\n"
    {
      unlink(pidFile)
    }
  }

  /// An error with what QEMU has said about it.
  func explained(_ error: any Error) -> Failure { Self.explained(error, child, output) }

  private static func explained(
    _ error: any Error, _ child: Child, _ output: QEMULog
  ) -> Failure {
    var failure = Failure(error, at: "qemu")
    // A signal's doing, or the store's, is none of QEMU's.
    guard !failure.isSignal, !(error is StoreError) else { return failure }
    // One that ends for a fault says so before; a moment, for it may still be ending.
    for _ in 0..<100 where child.isAlive && failure.kind == .failed { usleep(2000) }
    guard let words = output.lastWords else { return failure }
    if !child.isAlive, failure.cause == .other, failure.hint == nil {
      (failure.what, failure.why) = ("qemu", "it has ended: \(words)")
      failure.hint = "give the primary's own arguments; all that QEMU has said is in \(output.path)"
    } else {
      failure.why += ": \(words)"
      if failure.hint == nil || failure.cause == .refusedByDestination {
        failure.hint = "all that QEMU has said is in \(output.path)"
      }
    }
    return failure
  }
}
