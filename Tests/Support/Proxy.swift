import Foundation

/// A TCP proxy on loopback that can record what passes, cut a connection at an exact byte, tell
/// another address than was told, let all arrive later, and let nothing more through.
///
/// Connections are numbered in the order they come in: of a stock QEMU source, 0 is the main
/// channel and the rest are multifd channels.
public final class Proxy: Sendable {
  /// A direction of flow.
  public enum Direction: String, Sendable {
    /// From the side that connected.
    case toServer = "c2s"
    /// Back to it.
    case toClient = "s2c"
  }

  /// Something done to one direction of one connection.
  public struct Cut: Sendable {
    /// What happens there.
    public enum Action: Sendable {
      /// Both sides are closed.
      case close
      /// Both sides are reset (RST).
      case reset
      /// Nothing more is read or forwarded; the connection stays open.
      case stall
    }
    /// The connection's number.
    public var connection: Int
    /// The direction counted.
    public var direction: Direction
    /// Bytes that still pass.
    public var bytes: Int
    /// What comes then.
    public var action: Action

    /// `action` once `bytes` have passed on `connection`.
    public init(
      connection: Int, direction: Direction = .toServer, after bytes: Int, _ action: Action = .close
    ) {
      self.connection = connection
      self.direction = direction
      self.bytes = bytes
      self.action = action
    }
  }

  private struct State {
    var connections = 0
    var passed: [String: Int] = [:]
    var sockets: Set<Int32> = []
    var closed = false
    var hangs = false
  }

  /// Where it listens.
  public let port: Int
  private let listener: Int32
  private let state: Monitor<State>

  /// A proxy to `target`, a port of 127.0.0.1 or of another host. With `record`, a folder,
  /// connection N's bytes go to `connN.c2s` and `connN.s2c` in it. With `telling`, what the server
  /// says of the first port, as `:PORT`, is said of the second, which has as many digits; what it
  /// says comes in whole lines. With `latency` all arrives so much later, each way. With `onSix` it
  /// listens at that port of [::1], 0 for any.
  public init(
    to target: Int, of host: String = "127.0.0.1", record: String? = nil, cuts: [Cut] = [],
    telling: (Int, Int)? = nil, latency: Duration? = nil, onSix six: Int? = nil
  ) throws {
    (listener, port) = try six.map(Sockets.listenOnSix) ?? Sockets.listen()
    let state = Monitor(State())
    self.state = state
    let words = telling.map { (Array(":\($0.0)".utf8), Array(":\($0.1)".utf8)) }
    precondition(words?.0.count == words?.1.count)
    let (listener, worker) = (
      listener,
      Worker(
        host: host, target: target, record: record, cuts: cuts, telling: words, latency: latency,
        state: state)
    )
    Thread.detachNewThread { worker.acceptAll(listener) }
  }

  deinit { close() }

  /// Connections so far.
  public var connectionCount: Int { state.read { $0.connections } }

  /// Bytes that passed on a connection in one direction.
  public func passed(_ connection: Int, _ direction: Direction = .toServer) -> Int {
    state.read { $0.passed["\(connection) \(direction.rawValue)"] ?? 0 }
  }

  /// Ends every connection, and goes on listening.
  public func cutAll() {
    state.update { for socket in $0.sockets { shutdown(socket, Int32(SHUT_RDWR)) } }
  }

  /// Lets nothing more through, of any connection. All stay open, and new ones are taken.
  public func hang() { state.update { $0.hangs = true } }

  /// What has waited since ``hang()`` passes, and from now on all does.
  public func goOn() { state.update { $0.hangs = false } }

  /// Stops listening and ends every connection.
  public func close() {
    state.update { state in
      guard !state.closed else { return }
      state.closed = true
      shutdown(listener, Int32(SHUT_RDWR))
      for socket in state.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
    }
  }

  /// What the threads share; it does not keep the proxy itself alive.
  private struct Worker: Sendable {
    let host: String
    let target: Int
    let record: String?
    let cuts: [Cut]
    let telling: ([UInt8], [UInt8])?
    let latency: Duration?
    let state: Monitor<State>

    func acceptAll(_ listener: Int32) {
      while case let client = Sockets.accept(listener), client >= 0 {
        _ = fcntl(client, F_SETFD, FD_CLOEXEC)
        Sockets.setNoDelay(client)
        guard let server = Sockets.connect(host: host, port: target) else {
          Glibc.close(client)
          continue
        }
        let number = state.update { state in
          state.sockets.formUnion([client, server])
          state.connections += 1
          return state.connections - 1
        }
        let open = Monitor(2)
        start(number, .toServer, client, server, open)
        start(number, .toClient, server, client, open)
      }
      Glibc.close(listener)
    }

    private func start(
      _ number: Int, _ direction: Direction, _ from: Int32, _ to: Int32, _ open: Monitor<Int>
    ) {
      Thread.detachNewThread {
        pump(number, direction, from, to)
        // The last of the two directions closes both sockets, so that neither number is reused too
        // early.
        let left = open.update { open in
          open -= 1
          return open
        }
        guard left == 0 else { return }
        state.update { state in
          state.sockets.subtract([from, to])
          Glibc.close(from)
          Glibc.close(to)
        }
      }
    }

    private func pump(_ number: Int, _ direction: Direction, _ from: Int32, _ to: Int32) {
      let cut = cuts.first { $0.connection == number && $0.direction == direction }
      let file = record.flatMap { fopen("\($0)/conn\(number).\(direction.rawValue)", "w") }
      defer { if let file { fclose(file) } }
      let line = latency.map { DelayLine(to: to, $0) }
      defer { line?.end() }
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      var passed = 0
      while case let count = Sockets.read(from, &buffer), count > 0 {
        if direction == .toClient, let telling {
          buffer.replace(telling.0, with: telling.1, within: count)
        }
        let allowed = cut.map { min(count, $0.bytes - passed) } ?? count
        let slice = buffer[..<allowed]
        if let file { slice.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, file) } }
        _ = state.wait(.seconds(3600)) { $0.hangs && !$0.closed ? nil : true }
        guard line?.put(slice) ?? Sockets.write(to, slice) else { break }
        passed += allowed
        state.update { $0.passed["\(number) \(direction.rawValue)"] = passed }
        if let cut, passed >= cut.bytes { return perform(cut.action, from, to) }
      }
      line?.end()
      shutdown(to, Int32(SHUT_WR))
    }

    private func perform(_ action: Cut.Action, _ from: Int32, _ to: Int32) {
      switch action {
      case .close:
        break
      case .reset:
        var linger = linger(l_onoff: 1, l_linger: 0)
        let size = socklen_t(MemoryLayout.size(ofValue: linger))
        for socket in [from, to] { setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, size) }
      case .stall:
        _ = state.wait(.seconds(3600)) { $0.closed ? true : nil }
      }
      for socket in [from, to] { shutdown(socket, Int32(SHUT_RDWR)) }
    }
  }
}

extension [UInt8] {
  /// Replaces some bytes by as many others, wherever they are among the first `count`.
  fileprivate mutating func replace(_ old: [UInt8], with new: [UInt8], within count: Int) {
    guard count >= old.count else { return }
    for start in 0...count - old.count where self[start..<start + old.count].elementsEqual(old) {
      replaceSubrange(start..<start + old.count, with: new)
    }
  }
}
