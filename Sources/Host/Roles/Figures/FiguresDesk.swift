import Foundation
import Migration
import Synchronization
import System
import Transport

/// What an operator decides about how a role tells what it is doing.
package struct FiguresOptions: Sendable {
  /// The file of the control socket; nil: `control` in the store, where there is one.
  package var control: String?
  /// Where metrics are served; nil: nowhere.
  package var metrics: Endpoint?
  /// Others than this machine may scrape them.
  package var insecure = false
  /// A file that always has the last ones, for a collector that reads files; nil: none.
  package var file: String?
  /// The service manager that wants to hear of it; nil: none.
  package var manager: ServiceManager?
  /// Of the program.
  package var version: String

  /// Nothing but what is always there.
  package init(version: String) { self.version = version }
}

/// Where a role's figures can be had, and its operator's commands are taken: in the process that
/// outlives what a backend does.
///
/// Files are touched by a thread of its own: a store, or whatever the metrics' file lies on, may not
/// answer, and that process has other promises to keep.
package final class FiguresDesk: Sendable {
  private struct State {
    var status: RoleStatus?
    /// Nobody has looked at the status yet.
    var isNew = false
    /// What the role is doing once its worker has ended, if it does not end with it.
    var afterwards: String?
    /// It has come to that, and this is the role's last word.
    var last: RoleStatus?
    var isClosed = false

    /// With the worker's last word, which is the role's too unless it goes on.
    mutating func outlive(_ end: RoleStatus) {
      status = end
      guard let afterwards else { return }
      last = end
      status?.phase = afterwards
    }
  }

  /// What the desk's thread alone knows.
  private struct Told {
    var socket: ControlSocket?
    var hasNoSocket = false
    var written: ContinuousClock.Instant?
    /// What the service manager was told last, and when that this lives.
    var phase: String?
    var alive: ContinuousClock.Instant?
  }

  private let options: FiguresOptions
  private let store: String?
  private let orders: [String: ControlSocket.Order]
  private let log: @Sendable (String) -> Void
  private let started = Date().timeIntervalSince1970
  private let state = Monitor(State())
  private let server = Mutex<MetricsServer?>(nil)
  private let threads = ThreadGroup()

  /// Seconds between two versions of the file.
  private static let beat = 5.0
  /// Seconds that closing takes at most.
  private static let patience = 1.0

  /// A desk that nobody comes to yet.
  ///
  /// - Parameters:
  ///   - store: the role's; nil: it has none.
  ///   - orders: what can be told to the role, by name, beside `query-status`.
  ///   - log: gets a line where something is to be known.
  package init(
    _ options: FiguresOptions, store: String?, orders: [String: ControlSocket.Order],
    log: @escaping @Sendable (String) -> Void
  ) {
    (self.options, self.store, self.orders, self.log) = (options, store, orders, log)
  }

  /// Listens, but for a store's control socket: that comes when the store does.
  package func open() throws(Failure) {
    let socket = try options.control.map { path throws(Failure) in try makeSocket(path) }
    if let endpoint = options.metrics {
      let server = try MetricsServer(on: endpoint, insecure: options.insecure) { [weak self] in
        self?.state.read { $0.status }
      }
      self.server.withLock { $0 = server }
      log("metrics on \(server.endpoint)")
    }
    do { try threads.start("desk") { [self] in run(Told(socket: socket)) } } catch {
      throw Failure(error, at: "control")
    }
  }

  /// What the role does now. Returns at once.
  package func update(_ status: RoleStatus) {
    var status = status
    (status.version, status.started) = (options.version, started)
    state.update { state in
      if status.hasEnded { state.outlive(status) } else { state.status = status }
      state.isNew = true
    }
  }

  /// The role will not end with its worker: after that this process does what it has promised, and
  /// lives by itself for a service manager, since nobody is to be ended in the middle of a
  /// failover.
  ///
  /// - Parameter phase: what it is doing then.
  package func promise(_ phase: String) { state.update { $0.afterwards = phase } }

  /// The worker has ended, whether it could say so or not.
  package func outlive() {
    state.update { state in
      guard state.last == nil, let status = state.status, !status.hasEnded else { return }
      state.outlive(status.ended(because: nil))
      state.isNew = true
    }
  }

  /// Nobody is answered any more, once the last word is told. Storage that does not answer is not
  /// waited for.
  package func close() {
    server.withLock { $0 }?.close()
    state.update { state in
      if let last = state.last { (state.status, state.isNew) = (last, true) }
      state.isClosed = true
    }
    threads.joinAll(within: Self.patience)
  }

  private func run(_ begun: Told) {
    var told = begun
    while true {
      let next = state.take(seconds: options.manager?.watchdog.map { $0 / 3 }) {
        state -> RoleStatus?? in
        guard state.isNew, let status = state.status else {
          return state.isClosed ? .some(nil) : nil
        }
        state.isNew = false
        return status
      }
      guard let next else {
        if state.read({ $0.last != nil }) { options.manager?.notify("WATCHDOG=1") }
        continue
      }
      guard let status = next else { break }
      notify(status, &told)
      // A store whose guest did not come is being swept.
      if told.socket == nil, !told.hasNoSocket, !status.isEnding, options.control == nil, let store
      {
        told.socket = openSocket(in: store)
        told.hasNoSocket = told.socket == nil
      }
      let isDue = told.written.map { $0.duration(to: .now) > .seconds(Self.beat) } ?? true
      if isDue || status.isEnding {
        told.written = .now
        write(status)
      }
    }
    told.socket?.close()
  }

  /// Tells the service manager: that the role is ready, with the first word of it; what it is doing,
  /// whenever that is another thing; and that it lives, as often as that is wanted. A worker that
  /// stands tells nothing, and so does not live.
  private func notify(_ status: RoleStatus, _ told: inout Told) {
    guard let manager = options.manager else { return }
    var lines: [String] = []
    if told.phase == nil { lines.append("READY=1") }
    if status.hasEnded { lines.append("STOPPING=1") }
    if told.phase != status.phase {
      lines.append("STATUS=\(status.role.rawValue): \(status.phase)")
      told.phase = status.phase
    }
    if let limit = manager.watchdog,
      told.alive.map({ $0.duration(to: .now) > .seconds(limit / 3) }) ?? true
    {
      lines.append("WATCHDOG=1")
      told.alive = .now
    }
    guard !lines.isEmpty else { return }
    manager.notify(lines.joined(separator: "\n"))
  }

  /// A store's is a convenience: without it everything else goes on.
  private func openSocket(in store: String) -> ControlSocket? {
    do { return try makeSocket(store + "/control") } catch {
      if access(store, F_OK) == 0 { log("no control socket in the store: \(error.why)") }
      return nil
    }
  }

  private func makeSocket(_ path: String) throws(Failure) -> ControlSocket {
    var orders = orders
    orders["query-status"] = { [weak self] _ in
      self?.state.read { $0.status }.map { QMPValue(encoding: $0) } ?? .null
    }
    return try ControlSocket(at: path, version: options.version, orders: orders)
  }

  /// A collector never sees half a file.
  private func write(_ status: RoleStatus) {
    guard let file = options.file else { return }
    do {
      // In that format: textfile collectors know no other.
      try Data(Metrics(status, .prometheus).text.utf8).write(
        to: URL(filePath: file), options: .atomic)
    } catch { log("metrics cannot be written to \(file)") }
  }
}
