import Foundation
import SessionReplay
import TestSupport

/// A store whose primary is gone after checkpoint 3: what a failover begins with.
enum LostGuest {
  static let script = SyntheticGuest.script(seed: 60, checkpoints: 3, pages: [100])

  /// A standby that has ended.
  static func standby() throws -> LocalStandby {
    let standby = try LocalStandby()
    let primary = try Primary(script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 3)
    primary.close()
    _ = try standby.outcome()
    return standby
  }

  /// `multifd failover`, started.
  static func start(
    _ standby: LocalStandby, _ qemu: [String], _ arguments: [String] = [], wrapper: [String] = []
  ) throws -> MultiFDProcess {
    try MultiFDProcess(
      ["failover", "--json", "--store", standby.store] + arguments + ["--"] + qemu,
      wrapper: wrapper)
  }

  /// `multifd failover`, to its end.
  static func failover(
    _ standby: LocalStandby, _ qemu: [String], _ arguments: [String] = []
  ) throws -> MultiFDProcess.Result {
    try start(standby, qemu, ["--timeout", "2"] + arguments).wait()
  }

  /// Waits until a file has a line, and gives it.
  static func waitLine(_ path: String) throws -> String {
    for _ in 0..<4000 {
      if let text = try? String(contentsOfFile: path, encoding: .utf8), text.hasSuffix("\n") {
        return String(text.dropLast())
      }
      usleep(5000)
    }
    throw LabError("nobody writes \(path)")
  }

  /// Whether a process is there that is no zombie.
  static func isAlive(_ pid: pid_t) -> Bool {
    !OtherProcess.commandLine(pid).isEmpty
  }

  /// Whether a process that was killed ends within 10 s. It does so once it gets a processor, and
  /// only its own parent can wait for that.
  static func ends(_ pid: pid_t) -> Bool {
    for _ in 0..<2000 {
      if !isAlive(pid) { return true }
      usleep(5000)
    }
    return false
  }
}
