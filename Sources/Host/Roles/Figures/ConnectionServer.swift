import Migration
import System
import Transport

/// Serves whoever connects, each in a thread of its own, until it is closed.
final class ConnectionServer: Sendable {
  private struct Client {
    let socket: Socket
    let since = ContinuousClock.now
  }

  private let listener: Listener
  private let most: Int
  private let lifetime: Double?
  private let clients = Monitor<[ObjectIdentifier: Client]>([:])
  private let door = ThreadGroup()
  private let threads = ThreadGroup()

  /// Begins to serve.
  ///
  /// - Parameters:
  ///   - most: how many may be connected at once; then the oldest of the host with the most goes.
  ///   - lifetime: seconds after which a connection is ended; nil: never.
  ///   - serve: does what a connection is for, and returns when it has ended.
  init(
    _ listener: Listener, _ name: String, atMost most: Int, lifetime: Double? = nil,
    _ serve: @escaping @Sendable (Socket) -> Void
  ) throws(SystemError) {
    (self.listener, self.most, self.lifetime) = (listener, most, lifetime)
    try door.start(name) { [self] in
      while true {
        let next: Socket?
        // It has ended.
        do { next = try accept() } catch { return }
        dismiss()
        threads.joinEnded()
        guard let socket = next else { continue }
        let id = ObjectIdentifier(socket)
        clients.update { $0[id] = Client(socket: socket) }
        do {
          try threads.start(name) { [self] in
            serve(socket)
            socket.cut()
            clients.update { $0[id] = nil }
          }
        } catch { clients.update { $0[id] = nil } }
      }
    }
  }

  /// Nobody is served any more.
  func close() {
    listener.end()
    door.joinAll()
    for client in clients.read({ Array($0.values) }) { client.socket.cut() }
    threads.joinAll()
  }

  private func accept() throws(TransportError) -> Socket? {
    // Who was cut needs a moment to go, and has a thread until then.
    _ = clients.wait(seconds: 1) { $0.count < 2 * most ? () : nil }
    return try listener.next(within: 1)
  }

  private func dismiss() {
    var all = clients.read { Array($0.values) }.sorted { $0.since < $1.since }
    if let lifetime {
      for client in all where client.since.duration(to: .now) > .seconds(lifetime) {
        client.socket.cut()
      }
    }
    while all.count > most {
      // Each was accepted, so each comes from somewhere.
      guard let index = Origin.surplus(of: all.lazy.compactMap(\.socket.origin)) else { return }
      all.remove(at: index).socket.cut()
    }
  }
}
