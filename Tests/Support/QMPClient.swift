import Foundation

/// A connection to a QEMU's machine protocol: commands with their answers, and events as they come.
public final class QMPClient: Sendable {
  /// Something QEMU told of its own accord.
  public struct Event: Sendable {
    /// As QMP names it, e.g. `MIGRATION`.
    public let name: String
    /// Its data.
    public let data: JSON
    /// When it was read.
    public let time: ContinuousClock.Instant
    /// When it happened, on QEMU's clock: since 1970.
    public let timestamp: Duration
  }

  private struct State {
    var replies: [Int64: JSON] = [:]
    var events: [Event] = []
    var nextID: Int64 = 1
    var closed = false
  }

  private let descriptor: Int32
  private let monitor: Monitor<State>

  /// Connects to the socket at `path`, which may not exist yet, while `alive` says that it is worth
  /// waiting.
  public init(path: String, timeout: Duration = .seconds(30), while alive: () -> Bool) throws {
    descriptor = try Self.connect(path, timeout, alive)
    let monitor = Monitor(State())
    self.monitor = monitor
    let descriptor = descriptor
    Thread.detachNewThread {
      let lines = LineReader(descriptor)
      while let line = lines.next() {
        guard let message = try? JSON(parsing: line) else { continue }
        monitor.update { state in
          if let name = message["event"].string {
            let stamp = message["timestamp"]
            state.events.append(
              Event(
                name: name, data: message["data"], time: .now,
                timestamp: .seconds(stamp["seconds"].int ?? 0)
                  + .microseconds(stamp["microseconds"].int ?? 0)))
          } else if let id = message["id"].int {
            state.replies[Int64(id)] = message
          }
        }
      }
      // Closed under the lock, so that nobody writes to a descriptor that has become someone
      // else's.
      monitor.update { state in
        state.closed = true
        close(descriptor)
      }
    }
    try execute("qmp_capabilities")
  }

  // The reader owns the descriptor and closes it: this only ends its reading.
  deinit {
    monitor.update { state in
      if !state.closed { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
  }

  /// Runs a command and gives what it returns. Throws QEMU's own words when it refuses, and at the
  /// time-out.
  @discardableResult
  public func execute(
    _ command: String, _ arguments: JSON = .null, timeout: Duration = .seconds(60)
  ) throws -> JSON {
    let id = monitor.update { state in
      let id = state.nextID
      state.nextID += 1
      var message: [String: JSON] = ["execute": .string(command), "id": .integer(id)]
      if arguments != .null { message["arguments"] = arguments }
      let line = Array((JSON.object(message).text + "\n").utf8)
      if !state.closed { Sockets.write(descriptor, line) }
      return id
    }
    let reply = monitor.wait(timeout) { state -> JSON?? in
      if let reply = state.replies.removeValue(forKey: id) { return .some(reply) }
      return state.closed ? .some(nil) : nil
    }
    guard let reply else { throw LabError("QMP \(command): no answer within \(timeout)") }
    guard let reply else { throw LabError("QMP \(command): the connection is closed") }
    if let refusal = reply["error"]["desc"].string { throw LabError("QMP \(command): \(refusal)") }
    return reply["return"]
  }

  /// The number of events so far: a place to start waiting from.
  public var eventCount: Int { monitor.read { $0.events.count } }

  /// The events so far, from place `start` on.
  public func events(from start: Int = 0) -> [Event] {
    monitor.read { Array($0.events.dropFirst(start)) }
  }

  /// Waits for an event, from place `start` on, that `match` turns into a value; nil at the
  /// time-out or when QEMU has gone.
  public func waitEvent<R>(
    from start: Int = 0, _ timeout: Duration, for match: (Event) -> R?
  ) -> R? {
    var next = start
    return monitor.wait(timeout) { state -> R?? in
      while next < state.events.count {
        defer { next += 1 }
        if let value = match(state.events[next]) { return .some(value) }
      }
      return state.closed ? .some(nil) : nil
    } ?? nil
  }

  private static func connect(
    _ path: String, _ timeout: Duration, _ alive: () -> Bool
  ) throws -> Int32 {
    let deadline = ContinuousClock.now + timeout
    while true {
      if let descriptor = Sockets.connect(unix: path) { return descriptor }
      guard alive() else { throw LabError("QEMU ended before \(path) was there") }
      guard ContinuousClock.now < deadline else {
        throw LabError("\(path) was not there within \(timeout)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }
}

/// Splits what a descriptor delivers into lines. Used by one thread.
private final class LineReader {
  private let descriptor: Int32
  private var pending: [UInt8] = []
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  func next() -> [UInt8]? {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        defer { pending.removeSubrange(...end) }
        return Array(pending[..<end])
      }
      let count = Sockets.read(descriptor, &buffer)
      guard count > 0 else { return nil }
      pending += buffer[..<count]
    }
  }
}
