import Foundation

/// Where a guest will go on: the command of a QEMU that `multifd` starts, and connections to that
/// QEMU as soon as it is there.
public final class FailoverPlace: Sendable {
  private struct State {
    var console: GuestConsole?
    var qmp: QMPClient?
    var abandoned = false
  }

  /// The QEMU.
  public let version: QEMUVersion
  /// Its machine: the primary's.
  public let machine: QEMU.Machine
  /// The command for `multifd failover … --`. The QEMU it starts outlives its parent.
  public let command: [String]
  private let folder: TemporaryFolder
  private let state = Monitor(State())

  /// A place in `version` for a guest of `machine`.
  ///
  /// - Parameter attaches: connects to the first QEMU that is started here; otherwise see
  ///   ``attach()``.
  public init(_ version: QEMUVersion, _ machine: QEMU.Machine, attaches: Bool = true) throws {
    self.version = version
    self.machine = machine
    folder = try TemporaryFolder()
    let ends = [
      "-chardev", "socket,id=ser,path=\(folder("ser")),server=on,wait=off", "-serial",
      "chardev:ser", "-qmp", "unix:\(folder("qmp")),server=on,wait=off",
    ]
    command = version.command(machine.arguments + ends, survives: true)
    if attaches { attach() }
  }

  /// Connects to the next QEMU that is started here: one that was only rehearsed with has ended.
  public func attach() {
    let (state, serial, control) = (state, folder("ser"), folder("qmp"))
    // At once when the sockets appear: what the guest says before somebody listens is lost.
    Self.connect(state, serial) { path, alive in
      let console = try GuestConsole(path: path, timeout: .seconds(86_400), while: alive)
      state.update { $0.console = console }
    }
    Self.connect(state, control) { path, alive in
      let qmp = try QMPClient(path: path, timeout: .seconds(86_400), while: alive)
      state.update { $0.qmp = qmp }
    }
  }

  /// Whether a QEMU has been connected to.
  public var isAttached: Bool { state.read { $0.console != nil && $0.qmp != nil } }

  /// Forgets the QEMU that was connected to, which is gone. The next one may not stay either: see
  /// ``attach()`` when it is needed.
  public func detach() { state.update { ($0.console, $0.qmp) = (nil, nil) } }

  deinit { state.update { $0.abandoned = true } }

  /// QEMUs that were started here and are there now, whoever has started them.
  public var qemus: [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
      let program = OtherProcess.commandLine(pid).prefix { $0 != "\0" }
      return program.contains("qemu-system-") && FailedOverQEMU.isAlive(pid, folder.path)
    }
  }

  /// Ends them: what a process that was killed has left behind.
  public func clear() { for pid in qemus { FailedOverQEMU.kill(pid, of: folder.path) } }

  private static func connect(
    _ state: Monitor<State>, _ path: String,
    _ body: @escaping @Sendable (String, () -> Bool) throws -> Void
  ) {
    Thread.detachNewThread {
      // An error means that there will be nothing to connect to: whoever waits says so.
      try? body(path) { !state.read { $0.abandoned } }
    }
  }

  /// The QEMU, which has been started with the pid that `multifd` told.
  public func qemu(pid: Int) throws -> FailedOverQEMU {
    let ends = state.wait(.seconds(30)) { state -> (GuestConsole, QMPClient)? in
      guard let console = state.console, let qmp = state.qmp else { return nil }
      return (console, qmp)
    }
    guard let (console, qmp) = ends else {
      FailedOverQEMU.kill(pid_t(pid), of: folder.path)
      throw LabError("no connection to the QEMU that was started as pid \(pid)")
    }
    return FailedOverQEMU(self, pid_t(pid), folder.path, qmp, console)
  }
}

/// A QEMU that `multifd` has started and left behind: ended by this value, at the latest when this
/// process exits.
public final class FailedOverQEMU: GuestHost {
  /// Which QEMU it is.
  public let version: QEMUVersion
  /// The machine it runs.
  public let machine: QEMU.Machine
  /// Its control connection.
  public let qmp: QMPClient
  /// The guest's serial line since the failover.
  public let console: GuestConsole
  /// Its stderr is that of the `multifd` that started it.
  public var complaints: String { "" }
  /// Its process id.
  public let pid: pid_t
  private let path: String
  private let place: FailoverPlace

  init(
    _ place: FailoverPlace, _ pid: pid_t, _ path: String, _ qmp: QMPClient, _ console: GuestConsole
  ) {
    (version, machine, self.place) = (place.version, place.machine, place)
    (self.pid, self.path, self.qmp, self.console) = (pid, path, qmp, console)
    _ = Self.killAllAtExit
    Self.alive.update { $0[pid] = path }
  }

  deinit { killNow() }

  /// SIGKILL, and wait.
  public func killNow() {
    guard Self.alive.update({ $0.removeValue(forKey: pid) }) != nil else { return }
    Self.kill(pid, of: path)
    // It is nobody's child here: gone when its command line is.
    let deadline = ContinuousClock.now + .seconds(10)
    while Self.isAlive(pid, path), ContinuousClock.now < deadline {
      Thread.sleep(forTimeInterval: 0.01)
    }
  }

  static func kill(_ pid: pid_t, of path: String) {
    OtherProcess.kill(pid) { isAlive($0, path) }
  }

  /// A pid may have become somebody else's: only the QEMU of this place has the folder in its
  /// command line.
  fileprivate static func isAlive(_ pid: pid_t, _ path: String) -> Bool {
    OtherProcess.commandLine(pid).contains(path + "/")
  }

  private static let alive = Monitor<[pid_t: String]>([:])

  private static let killAllAtExit: Void = {
    atexit {
      for (pid, path) in FailedOverQEMU.alive.read({ $0 }) { FailedOverQEMU.kill(pid, of: path) }
    }
  }()
}
