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
package final class FiguresDesk: Sendable {
  private struct State {
    var status: RoleStatus?
    var socket: ControlSocket?
    var hasFailed = false
    var written: ContinuousClock.Instant?
    /// What the service manager was told last, and when.
    var told: (phase: String, at: ContinuousClock.Instant)?
  }

  private let options: FiguresOptions
  private let store: String?
  private let orders: [String: ControlSocket.Order]
  private let log: @Sendable (String) -> Void
  private let state = Mutex(State())
  private let server = Mutex<MetricsServer?>(nil)

  /// Seconds between two versions of the file.
  private static let beat = 5.0

  /// Begins to serve, but for a store's control socket: that comes when the store does.
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

  /// Listens.
  package func open() throws(Failure) {
    if let path = options.control {
      let socket = try makeSocket(path)
      state.withLock { $0.socket = socket }
    }
    guard let endpoint = options.metrics else { return }
    let server = try MetricsServer(on: endpoint, insecure: options.insecure) { [weak self] in
      self?.state.withLock { $0.status }
    }
    self.server.withLock { $0 = server }
    log("metrics on \(server.endpoint)")
  }

  /// What the role does now.
  package func update(_ status: RoleStatus) {
    var status = status
    status.version = options.version
    let (needsSocket, isDue) = state.withLock { state in
      state.status = status
      let isDue =
        state.written.map { $0.duration(to: .now) > .seconds(Self.beat) } ?? true
        || status.phase == "ended"
      if isDue { state.written = .now }
      return (state.socket == nil && !state.hasFailed, isDue)
    }
    // A store whose guest did not come is being swept.
    let isOver = ["failing", "ended"].contains(status.phase)
    if needsSocket, !isOver, options.control == nil, let store { openSocket(in: store) }
    if isDue { write(status) }
    notify(status)
  }

  /// Tells the service manager: that the role is ready, with the first word of it; what it is doing,
  /// whenever that is another thing; and that it lives, as often as that is wanted. A worker that
  /// stands tells nothing, and so does not live.
  private func notify(_ status: RoleStatus) {
    guard let manager = options.manager else { return }
    let (isFirst, isNew, isDue) = state.withLock { state in
      let told = state.told
      let isNew = told?.phase != status.phase
      let isDue = manager.watchdog.flatMap { limit in
        told.map { $0.at.duration(to: .now) > .seconds(limit / 3) }
      }
      if isNew || isDue == true { state.told = (status.phase, .now) }
      return (told == nil, isNew, isDue == true)
    }
    var lines: [String] = []
    if isFirst { lines.append("READY=1") }
    if status.phase == "ended" { lines.append("STOPPING=1") }
    if isNew { lines.append("STATUS=\(status.role.rawValue): \(status.phase)") }
    if isDue || isFirst, manager.watchdog != nil { lines.append("WATCHDOG=1") }
    if !lines.isEmpty { manager.notify(lines.joined(separator: "\n")) }
  }

  /// Nobody is answered any more.
  package func close() {
    server.withLock { $0 }?.close()
    state.withLock { state in
      defer { state.socket = nil }
      return state.socket
    }?.close()
  }

  /// A store's is a convenience: without it everything else goes on.
  private func openSocket(in store: String) {
    do {
      let socket = try makeSocket(store + "/control")
      state.withLock { $0.socket = socket }
    } catch {
      state.withLock { $0.hasFailed = true }
      guard access(store, F_OK) == 0 else { return }
      log("no control socket in the store: \(error.why)")
    }
  }

  private func makeSocket(_ path: String) throws(Failure) -> ControlSocket {
    var orders = orders
    orders["query-status"] = { [weak self] _ in
      self?.state.withLock { $0.status }.map { QMPValue(encoding: $0) } ?? .null
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
