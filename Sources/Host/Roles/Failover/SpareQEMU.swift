import Foundation
import Glibc
import Memory
import Store
import Transport

/// A stock QEMU that has the RAM files of a store mapped and waits in `-incoming defer`.
public final class SpareQEMU {
  /// Its process.
  public var pid: pid_t { child.pid }
  /// Blocks that it has mapped.
  let mapped: Set<String>
  private let child: Child
  private let monitor: QMPConnection
  private let folder: String
  private let store: String
  private let timeout: Double
  private let log: (String) -> Void

  /// Starts one, and waits until it could be fed.
  ///
  /// - Parameters:
  ///   - store: its real path.
  ///   - started: gets the process at once, which another thread may then end; may refuse it.
  init(
    _ command: [String], store: String, blocks: [Manifest.Block], timeout: Double,
    log: @escaping (String) -> Void, started: (Child) throws -> Void
  ) throws {
    let folder = try QEMUProcess.makeFolder()
    var spawned: Child?
    do {
      let line = try QEMUCommandLine(
        command, store: store, blocks: blocks, qmp: folder + "/qmp")
      let child = try Child(line.arguments, outlives: true)
      spawned = child
      SpareRecord.write(child.pid, store: store)
      log("started \(command[0]), pid \(child.pid)")
      try started(child)
      let monitor = try QMPConnection(
        path: folder + "/qmp", timeout: timeout, alive: { child.isAlive },
        onEvent: { log("qemu: \($0.name)") })
      try monitor.execute(
        "migrate-set-capabilities",
        ["capabilities": [["capability": "x-ignore-shared", "state": true]]])
      try monitor.execute("migrate-incoming", ["uri": "unix:\(folder)/migrate"])
      mapped = line.mapped
      self.child = child
      self.monitor = monitor
    } catch {
      if let spawned {
        spawned.kill()
        SpareRecord.remove(spawned.pid, store: store)
      }
      try? FileManager.default.removeItem(atPath: folder)
      throw error
    }
    self.folder = folder
    self.store = store
    self.timeout = timeout
    self.log = log
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// Makes sure that it waits for the guest and answers.
  func expectWaiting() throws {
    guard child.isAlive else { throw Failure(.failed, "qemu", "it has ended") }
    let status = try monitor.execute("query-status")["status"] as? String ?? ""
    guard status == "inmigrate" else {
      throw Failure(.failed, "qemu", "it is \(status), and should wait in inmigrate")
    }
  }

  /// Feeds the devices and what is not mapped.
  ///
  /// - Parameter beforeDevices: called before the first byte with which it could start the guest.
  func load(_ guest: HeldGuest, beforeDevices: () throws -> Void) throws {
    let socket = try Socket.connect(to: .unix(path: folder + "/migrate"), timeout: timeout)
    try FailoverStream(guest: guest, mapped: mapped).send(to: socket, beforeDevices: beforeDevices)
  }

  /// It is going to have the guest: nobody may end it for an orphan.
  func disown() { SpareRecord.remove(pid, store: store) }

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

  /// Ends it.
  public func kill() {
    child.kill()
    SpareRecord.remove(pid, store: store)
  }
}
