import Foundation
import Migration
import System
import Transport

/// A stock QEMU under measurement: a COLO primary, or its stock secondary.
final class BenchQEMU {
  let monitor: QMPConnection
  private let log: EventLog
  private let folder: PrivateFolder
  private let child: Child

  /// Events as they come, also between commands.
  private final class EventLog { var events: [QMPEvent] = [] }

  /// Starts one.
  ///
  /// - Parameters:
  ///   - command: the program, and words before the arguments.
  ///   - children: whom it is one of.
  init(
    _ command: [String], _ arguments: [String], timeout: Double, _ children: BenchChildren
  ) throws {
    folder = try PrivateFolder()
    let socket = folder.path + "/qmp"
    let log = EventLog()
    self.log = log
    let child = try children.start(
      command + arguments + CheckpointTrace.arguments(folder.path + "/trace")
        + ["-qmp", "unix:\(socket),server=on,wait=off"])
    self.child = child
    do {
      monitor = try QMPConnection(
        path: socket, timeout: timeout, alive: { child.isAlive },
        onEvent: { log.events.append($0) })
    } catch {
      child.kill()
      throw error
    }
  }

  deinit { child.kill() }

  /// `11.1.3`.
  var version: String {
    let version = monitor.version
    return "\(version.major).\(version.minor).\(version.micro)"
  }

  /// Sets what both ends of a COLO migration must have in common.
  func prepare(_ options: CheckpointBenchOptions, channels: Int) throws {
    var capabilities = ["x-colo": true, "events": true]
    if channels > 0 { capabilities["multifd"] = true }
    // Up to 10.2 a primary with return-path cuts its own connection; from 11 on it needs one.
    if monitor.version.major >= 11 { capabilities["return-path"] = true }
    try monitor.execute(
      "migrate-set-capabilities",
      [
        "capabilities": .array(
          capabilities.map { ["capability": .string($0.key), "state": .bool($0.value)] })
      ])
    var parameters: [String: QMPValue] = [
      "x-checkpoint-delay": .integer(Int64(options.delay)), "max-bandwidth": .integer(100 << 30),
    ]
    if channels > 0 {
      parameters["multifd-channels"] = .integer(Int64(channels))
      parameters["multifd-compression"] = .string(options.compression)
    }
    try monitor.execute("migrate-set-parameters", .object(parameters))
  }

  /// Waits for a primary on a port of its own choice.
  func listen() throws -> Endpoint {
    try monitor.execute("migrate-incoming", ["uri": "tcp:127.0.0.1:0"])
    let said = try monitor.execute("query-migrate")["socket-address"].elements
    guard let text = said.first?["port"].string, let port = UInt16(text) else {
      throw Failure(.failed, "secondary", "it does not say where it listens")
    }
    return .tcp(host: "127.0.0.1", port: port)
  }

  /// Migrates, and waits for so many checkpoints to be taken.
  func protect(to endpoint: Endpoint, checkpoints: Int) throws {
    log.events = []
    try monitor.execute("migrate", ["uri": .string(endpoint.description)])
    // The guest stops and goes on once at the end of precopy, and then for each checkpoint.
    var seen = log.events.count { $0.name == "RESUME" }
    while seen <= checkpoints {
      guard try waitResumed(after: seen) else {
        throw Failure(.failed, "primary", "COLO ended after \(max(0, seen - 1)) checkpoints")
      }
      seen += 1
    }
  }

  /// - Returns: false when COLO, or the migration, has ended.
  private func waitResumed(after seen: Int) throws -> Bool {
    let hasResumed = try monitor.waitEvent { event -> Bool? in
      if event.name == "RESUME" { return true }
      let ends = ["failed", "completed", "cancelled"]
      if event.name == "COLO_EXIT" { return false }
      return event.name == "MIGRATION" && ends.contains(event.data["status"] ?? "") ? false : nil
    }
    guard let hasResumed else {
      throw Failure(
        .unreachable, "primary",
        "its guest has not gone on since \(seen <= 1 ? "precopy" : "checkpoint \(seen - 1)")")
    }
    return hasResumed
  }

  /// How long the guest stood still, for each checkpoint.
  var pauses: [Duration] {
    var result: [Duration] = []
    var stopped: Duration?
    for event in log.events {
      if event.name == "STOP" { stopped = event.timestamp }
      if event.name == "RESUME", let begun = stopped {
        result.append(event.timestamp - begun)
        stopped = nil
      }
    }
    return Array(result.dropFirst())
  }

  /// Ends it.
  func end() { child.kill() }

  /// What it has traced.
  var trace: CheckpointTrace {
    let text = try? String(contentsOfFile: folder.path + "/trace", encoding: .utf8)
    return CheckpointTrace(parsing: text ?? "")
  }
}
