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
    // Short, for the sake of UNIX sockets; private, for the sake of the monitor.
    var template = Array("/tmp/multifd-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    let line = try QEMUCommandLine(
      command, store: store, blocks: blocks, qmp: folder + "/qmp")
    mapped = line.mapped
    self.timeout = timeout
    self.log = log
    pid = try Self.spawn(line.arguments)
    log("started \(command[0]), pid \(pid)")
    let child = pid
    do {
      monitor = try QMPConnection(
        path: folder + "/qmp", timeout: timeout, alive: { Self.lives(child) },
        onEvent: { log("qemu: \($0)") })
      try monitor.execute(
        "migrate-set-capabilities",
        ["capabilities": [["capability": "x-ignore-shared", "state": true]]])
      try monitor.execute("migrate-incoming", ["uri": "unix:\(folder)/migrate"])
    } catch {
      Glibc.kill(child, SIGKILL)
      waitpid(child, nil, 0)
      try? FileManager.default.removeItem(atPath: folder)
      throw error
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// Whether the process is there.
  var isAlive: Bool { Self.lives(pid) }

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
  public func kill() {
    Glibc.kill(pid, SIGKILL)
    waitpid(pid, nil, 0)
  }

  private static func lives(_ pid: pid_t) -> Bool { waitpid(pid, nil, WNOHANG) == 0 }

  /// Starts a process in a session of its own: it outlives this one.
  private static func spawn(_ arguments: [String]) throws -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The signals that this process waits for are QEMU's to receive.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(0x80) /* POSIX_SPAWN_SETSID */)
    // It outlives this command: whoever reads the command's output must not wait for QEMU's end.
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&files, 2, 1)
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    argv.append(nil)
    defer { for pointer in argv { free(pointer) } }
    var pid = pid_t()
    let status = posix_spawnp(&pid, arguments[0], &files, &attributes, argv, environ)
    guard status == 0 else {
      throw Failure(
        .failed, "qemu",
        "cannot start \(arguments[0]): \(SystemError("spawn", errno: status).reason)")
    }
    return pid
  }
}
