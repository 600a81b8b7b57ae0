import Foundation
import Migration
import Transport

/// A connection to a QEMU's monitor: one command at a time, events as they come.
final class QMPConnection {
  private let socket: Socket
  private var input: InputBuffer
  private let onEvent: (QMPEvent) -> Void
  /// The version that QEMU greets with, e.g. `(11, 1, 3)`.
  private(set) var version = (major: 0, minor: 0, micro: 0)

  /// Connects to a QEMU that was just started, and negotiates.
  init(
    path: String, timeout: Double, alive: () -> Bool, onEvent: @escaping (QMPEvent) -> Void
  ) throws {
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      do {
        socket = try Socket.connect(to: .unix(path: path), timeout: timeout)
        break
      } catch {
        guard alive() else {
          throw Failure(.failed, "qemu", "it ended at once")
        }
        guard ContinuousClock.now < deadline else { throw Failure(error, at: "qemu") }
        usleep(2000)
      }
    }
    input = InputBuffer(socket, capacity: 1 << 16)
    self.onEvent = onEvent
    if let greeting = try answer()["QMP"] as? [String: Any],
      let said = (greeting["version"] as? [String: Any])?["qemu"] as? [String: Int]
    {
      version = (said["major"] ?? 0, said["minor"] ?? 0, said["micro"] ?? 0)
    }
    try execute("qmp_capabilities")
  }

  /// Runs a command and waits for its answer.
  @discardableResult
  func execute(_ command: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
    try call(command, arguments) as? [String: Any] ?? [:]
  }

  /// Runs a command whose answer is a list of objects.
  func executeList(_ command: String) throws -> [[String: Any]] {
    try call(command, [:]) as? [[String: Any]] ?? []
  }

  /// Runs a line of the human monitor, and gives what it prints.
  func monitor(_ line: String) throws -> String {
    try call("human-monitor-command", ["command-line": line]) as? String ?? ""
  }

  private func call(_ command: String, _ arguments: [String: Any]) throws -> Any {
    var object: [String: Any] = ["execute": command]
    if !arguments.isEmpty { object["arguments"] = arguments }
    let data = try JSONSerialization.data(withJSONObject: object)
    try socket.write(Array(data) + [UInt8(ascii: "\n")])
    while true {
      let answer = try answer()
      if let error = answer["error"] as? [String: Any] {
        throw Failure(.failed, "qemu", "\(command): \(error["desc"] as? String ?? "failed")")
      }
      if let result = answer["return"] { return result }
    }
  }

  /// Waits for events until `match` turns one into a value; silence for longer than the time-out is
  /// an error.
  func waitEvent<Value>(_ match: (QMPEvent) -> Value?) throws -> Value {
    while true {
      guard let event = QMPEvent(try object()) else {
        throw Failure(.failed, "qemu", "its monitor answers what it was not asked")
      }
      onEvent(event)
      if let value = match(event) { return value }
    }
  }

  /// The next object that is no event; events are told on the way.
  private func answer() throws -> [String: Any] {
    while true {
      let object = try object()
      guard let event = QMPEvent(object) else { return object }
      onEvent(event)
    }
  }

  private func object() throws -> [String: Any] {
    var seen = 0
    while true {
      let bytes = input.bytes
      if let end = bytes[seen...].firstIndex(of: UInt8(ascii: "\n")) {
        let data = Data(bytes[..<end])
        input.consume(end + 1)
        guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
          throw Failure(.failed, "qemu", "its monitor does not speak QMP")
        }
        return object
      }
      seen = bytes.count
      guard seen < 1 << 22, try input.require(seen + 1, idle: false) else {
        throw Failure(.failed, "qemu", "it closed its monitor")
      }
    }
  }
}
