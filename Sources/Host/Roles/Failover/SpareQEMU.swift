import Foundation
import Glibc
import Memory
import Store
import Transport

/// A stock QEMU that has the RAM files of a store mapped and waits in `-incoming defer`.
public final class SpareQEMU {
  /// Its process.
  public let pid: pid_t
  /// Blocks that it has mapped.
  let mapped: Set<String>
  private let monitor: QMPConnection
  private let folder: String
  private let timeout: Double
  private let log: (String) -> Void

  init(
    _ command: [String], store: String, blocks: [Manifest.Block], timeout: Double,
    log: @escaping (String) -> Void
  ) throws {
    guard !command.isEmpty else {
      throw Failure(.usage, "failover", "no QEMU command: … -- qemu-system-x86_64 ARGS")
    }
    folder = try QEMUProcess.makeFolder()
    let line = try QEMUCommandLine(
      command, store: store, blocks: blocks, qmp: folder + "/qmp")
    mapped = line.mapped
    self.timeout = timeout
    self.log = log
    pid = try QEMUProcess.spawn(line.arguments, outlives: true)
    log("started \(command[0]), pid \(pid)")
    let child = pid
    do {
      monitor = try QMPConnection(
        path: folder + "/qmp", timeout: timeout, alive: { QEMUProcess.lives(child) },
        onEvent: { log("qemu: \($0.name)") })
      try monitor.execute(
        "migrate-set-capabilities",
        ["capabilities": [["capability": "x-ignore-shared", "state": true]]])
      try monitor.execute("migrate-incoming", ["uri": "unix:\(folder)/migrate"])
    } catch {
      QEMUProcess.kill(child)
      try? FileManager.default.removeItem(atPath: folder)
      throw error
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// Whether the process is there.
  var isAlive: Bool { QEMUProcess.lives(pid) }

  /// Feeds the devices and what is not mapped.
  func load(_ guest: HeldGuest) throws {
    let socket = try Socket.connect(to: .unix(path: folder + "/migrate"), timeout: timeout)
    try FailoverStream(guest: guest, mapped: mapped).send(to: socket)
  }

  /// Waits until the guest runs.
  ///
  /// - Returns: `running`, or what it was when the source stopped it.
  func waitUntilRunning() throws -> String {
    let deadline = ContinuousClock.now + .seconds(timeout)
    while true {
      let status = try monitor.execute("query-status")["status"] as? String ?? ""
      if status != "inmigrate" && status != "finish-migrate" { return status }
      guard ContinuousClock.now < deadline else {
        throw Failure(.unreachable, "qemu", "it has the guest but stays in \(status)")
      }
      usleep(500)
    }
  }

  /// Turns x-ignore-shared off again: the guest's next migration must bring its RAM along.
  func forgetMigration() {
    do {
      try monitor.execute(
        "migrate-set-capabilities",
        ["capabilities": [["capability": "x-ignore-shared", "state": false]]])
    } catch { log("turn x-ignore-shared off before you migrate this guest: \(error)") }
  }

  /// Ends it. It has not run anything.
  public func kill() { QEMUProcess.kill(pid) }
}
