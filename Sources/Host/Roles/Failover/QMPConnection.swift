import Foundation
import Transport

/// A connection to a QEMU's monitor: one command at a time, events as they come.
final class QMPConnection {
  private let socket: Socket
  private var input: InputBuffer
  private let onEvent: (String) -> Void

  /// Connects to a QEMU that was just started, and negotiates.
  init(
    path: String, timeout: Double, alive: () -> Bool, onEvent: @escaping (String) -> Void
  ) throws {
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      do {
        socket = try Socket.connect(to: .unix(path: path), timeout: timeout)
        break
      } catch {
        guard alive() else {
          throw Failure(.failed, "qemu", "it ended at once", hint: "its own message is above")
        }
        guard ContinuousClock.now < deadline else { throw Failure(error, at: "qemu") }
        usleep(2000)
      }
    }
    input = InputBuffer(socket, capacity: 1 << 16)
    self.onEvent = onEvent
    _ = try line()
    try execute("qmp_capabilities")
  }

  /// Runs a command and waits for its answer.
  @discardableResult
  func execute(_ command: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
    var object: [String: Any] = ["execute": command]
    if !arguments.isEmpty { object["arguments"] = arguments }
    let data = try JSONSerialization.data(withJSONObject: object)
    try socket.write(Array(data) + [UInt8(ascii: "\n")])
    while true {
      let answer = try line()
      if let error = answer["error"] as? [String: Any] {
        throw Failure(.failed, "qemu", "\(command): \(error["desc"] as? String ?? "failed")")
      }
      if answer["return"] != nil { return answer["return"] as? [String: Any] ?? [:] }
    }
  }

  /// The next object; events are told on the way.
  private func line() throws -> [String: Any] {
    var seen = 0
    while true {
      let bytes = input.bytes
      if let end = bytes[seen...].firstIndex(of: UInt8(ascii: "\n")) {
        let data = Data(bytes[..<end])
        input.consume(end + 1)
        seen = 0
        guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
          throw Failure(.failed, "qemu", "its monitor does not speak QMP")
        }
        guard let event = object["event"] as? String else { return object }
        onEvent(event)
        continue
      }
      seen = bytes.count
      guard seen < 1 << 22, try input.require(seen + 1, idle: false) else {
        throw Failure(.failed, "qemu", "it closed its monitor")
      }
    }
  }
}
