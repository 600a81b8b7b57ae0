import Glibc
import Migration
import System
import Transport

/// The control socket of a role: a UNIX socket for its user alone, on which QMP is spoken, as to a
/// QEMU. Whatever speaks to a QEMU's monitor (qmp-shell, a library) can speak to it.
///
///     -> {"QMP": {"version": {"multifd": "0.1.0"}, "capabilities": []}}
///     <- {"execute": "qmp_capabilities"}
///     -> {"return": {}}
///     <- {"execute": "query-status", "id": 1}
///     -> {"return": {"role": "standby", …}, "id": 1}
///
/// Unlike a QEMU's it talks to several at a time, and does without `qmp_capabilities`.
package final class ControlSocket: Sendable {
  /// Does what a command wants of its arguments, and answers.
  package typealias Order = @Sendable (QMPValue) throws(Failure) -> QMPValue

  private let server: ConnectionServer

  /// How many may be connected at once.
  private static let mostClients = 16
  /// The longest line: more is nobody's command.
  private static let longest = 1 << 16
  /// Seconds that somebody may take to read what he asked for.
  private static let patience = 5.0

  /// Listens.
  ///
  /// - Parameters:
  ///   - path: its file, which must not be there, or be left of a process that is gone.
  ///   - version: of the program.
  ///   - orders: the commands by name.
  package init(at path: String, version: String, orders: [String: Order]) throws(Failure) {
    var known = orders
    known["qmp_capabilities"] = { _ in [:] }
    known["query-commands"] = { _ in
      .array(orders.keys.sorted().map { ["name": .string($0)] })
    }
    let all = known
    do {
      let listener = try Listener(
        on: .unix(path: path), timeout: Self.patience, peer: "the operator")
      server = try ConnectionServer(listener, "operator", atMost: Self.mostClients) { socket in
        // The file is its user's, and so is what may be asked.
        guard [0, geteuid()].contains(socket.peerUser) else { return }
        try? Self.serve(socket, version, all)
      }
    } catch { throw Failure(error, at: "control") }
  }

  /// Nobody is answered any more, and the file is gone.
  package func close() { server.close() }

  private static func serve(
    _ socket: Socket, _ version: String, _ orders: [String: Order]
  ) throws {
    func say(_ value: QMPValue) throws { try socket.write(Array((value.text + "\n").utf8)) }
    try say(["QMP": ["version": ["multifd": .string(version)], "capabilities": []]])
    var input = InputBuffer(socket, capacity: 1 << 12)
    while case .line(let line) = try input.line(atMost: longest, idle: true) {
      guard let message = QMPValue(parsing: line) else {
        try say(error("this is no JSON", id: .null))
        continue
      }
      try say(answer(message, orders))
    }
  }

  private static func answer(_ message: QMPValue, _ orders: [String: Order]) -> QMPValue {
    let id = message["id"]
    guard let name = message["execute"].string else {
      return error("a command is {\"execute\": NAME}", id: id)
    }
    guard let order = orders[name] else {
      return error("there is no command '\(name)' here", class: "CommandNotFound", id: id)
    }
    do throws(Failure) {
      return with(id, ["return": try order(message["arguments"])])
    } catch { return Self.error("\(error)", id: id) }
  }

  private static func error(
    _ text: String, class name: String = "GenericError", id: QMPValue
  ) -> QMPValue {
    with(id, ["error": ["class": .string(name), "desc": .string(text)]])
  }

  private static func with(_ id: QMPValue, _ members: [String: QMPValue]) -> QMPValue {
    var members = members
    if id != .null { members["id"] = id }
    return .object(members)
  }
}
