import Migration
import Store
import System
import TLS
import Transport

/// Serves disks over NBD, until it is closed.
final class DiskServer: Sendable {
  /// More than any primary needs; the rest are scans, or worse.
  private static let mostConnections = 64

  private let listener: Listener
  private let disks: [EpochDisk]
  private let timeout: Double
  private let tls: TLSCredentials?
  private let strangers: StrangerLog
  private let connections = Monitor<[ObjectIdentifier: DiskConnection]>([:])
  private let threads = ThreadGroup()
  private let clients = ThreadGroup()
  private let log: @Sendable (String) -> Void

  /// Where it listens.
  var endpoint: Endpoint { listener.endpoint }

  /// Begins to serve.
  ///
  /// - Parameter tls: what each client has to come by; nil: none can.
  init(
    _ disks: [EpochDisk], on endpoint: Endpoint, timeout: Double, tls: TLSCredentials?,
    insecure: Bool, log: @escaping @Sendable (String) -> Void
  ) throws {
    // Its handshake comes later: the first words of the protocol are in clear.
    listener = try Listener(
      on: endpoint, timeout: timeout, insecure: insecure || tls != nil, peer: "the client")
    (self.disks, self.timeout, self.tls, self.log) = (disks, timeout, tls, log)
    strangers = StrangerLog { log("disks: \($0)") }
    try threads.start("nbd") { [self] in accept() }
  }

  /// Whoever is connected is cut off, and nobody else comes in: when it returns, nothing is written
  /// any more.
  func close() {
    listener.end()
    threads.joinAll()
    for connection in connections.read({ Array($0.values) }) { connection.socket.cut() }
    clients.joinAll()
  }

  private func accept() {
    while true {
      let next: Socket?
      do { next = try listener.next(within: 1) } catch {
        // It has ended.
        return
      }
      dismissSilent()
      clients.joinEnded()
      guard let socket = next else { continue }
      // Who was cut needs a moment to go, and has a thread until then.
      _ = connections.wait(seconds: 1) { $0.count < 2 * Self.mostConnections ? () : nil }
      let connection = DiskConnection(
        socket, disks, tls: tls, within: timeout, strangers: strangers, log: log)
      let id = ObjectIdentifier(connection)
      connections.update { $0[id] = connection }
      do {
        try clients.start("nbd client") { [self] in
          connection.run()
          connections.update { $0[id] = nil }
        }
      } catch {
        connections.update { $0[id] = nil }
        strangers.note(unserved: error)
      }
    }
  }

  /// Clients that have chosen no disk in time go; and where there are too many, the oldest of the
  /// host that has the most of them.
  private func dismissSilent() {
    let all = connections.read { Array($0.values) }
    var silent = all.filter { !$0.isServing }.sorted { $0.since < $1.since }
    for _ in 0..<max(0, all.count - Self.mostConnections) {
      guard let index = Origin.surplus(of: silent.lazy.compactMap(\.socket.origin)) else { break }
      silent.remove(at: index).socket.cut()
    }
    for connection in silent where .now - connection.since > .seconds(timeout) {
      connection.socket.cut()
    }
  }
}
