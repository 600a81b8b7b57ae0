import Foundation
import Migration
import Roles
import TestSupport
import Testing
import Transport

/// The monitor of a QEMU that runs already, by a socket and by a command.
@Suite("A running QEMU's monitor", .beside)
struct QMPMonitorTests {
  /// A script that answers as its arguments say, and writes down what it was asked.
  private func script(_ folder: TemporaryFolder, _ body: String) throws -> QMPCommand {
    let path = folder("monitor")
    try Program.write("#!/bin/sh\necho \"$2\" >>\(folder("asked"))\n\(body)\n", to: path)
    return QMPCommand("\(path) guest1")
  }

  @Test("A command gets one of QMP's as its last argument")
  func command() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let monitor = try script(folder, #"echo '{"return":{"status":"running"},"id":"libvirt-4"}'"#)
    let answer = try monitor.execute("query-status", within: 10)
    #expect(answer["status"].string == "running")
    // A quote of the guest's or the operator's stays in its argument.
    _ = try monitor.execute("x", ["a": "it's \"$HOME\" `id`"], within: 10)
    let asked = try String(contentsOfFile: folder("asked"), encoding: .utf8)
    #expect(
      asked == #"{"execute":"query-status"}"# + "\n"
        + #"{"arguments":{"a":"it's \"$HOME\" `id`"},"execute":"x"}"# + "\n")
  }

  @Test("An answer over several lines, among events, a refusal, and none")
  func commandAnswers() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let pretty = try script(folder, "printf '{\\n  \"return\": 7\\n}\\n'")
    #expect(try pretty.execute("a", within: 10).int == 7)
    let events = try script(
      folder, #"echo '{"event":"STOP","timestamp":{}}'; echo '{"return":8}'; echo '{"event":"X"}'"#)
    #expect(try events.execute("a", within: 10).int == 8)
    let refusal = try script(folder, #"echo '{"error":{"class":"GenericError","desc":"no such"}}'"#)
    #expect(throws: MonitorError(.refused, "a: no such")) { try refusal.execute("a", within: 10) }
    let none = try script(folder, "echo 'error: Domain not found' >&2; exit 1")
    let error = #expect(throws: MonitorError.self) { try none.execute("a", within: 10) }
    #expect(error?.kind == .silent)
    #expect(error?.description.contains("Domain not found") == true)
  }

  @Test("A command that does not come back is ended")
  func commandHangs() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let monitor = try script(folder, "echo $$ >\(folder("pid")); sleep 600")
    let error = #expect(throws: MonitorError.self) { try monitor.execute("a", within: 0.5) }
    #expect(error?.kind == .silent)
    let pid = try #require(
      pid_t(String(contentsOfFile: folder("pid"), encoding: .utf8).dropLast()))
    // Its own parent is gone as well, and whoever has adopted it reaps it.
    let deadline = ContinuousClock.now + .seconds(10)
    while kill(pid, 0) == 0, .now < deadline { usleep(10_000) }
    #expect(kill(pid, 0) != 0 || ChildProcess.look(at: pid)?.isZombie == true)
  }

  @Test("A stock QEMU: commands, refusals, events, out of band, and its end")
  func socket() throws {
    guard QEMUVersion.v111.isAvailableElseAnnounce("a running QEMU's monitor") else { return }
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let process = try ChildProcess(
      QEMUVersion.v111.command([
        "-machine", "q35", "-accel", "tcg", "-m", "64M", "-nodefaults", "-no-user-config",
        "-display", "none", "-S", "-qmp", "unix:\(folder("qmp")),server=on,wait=off",
      ]))
    defer { process.kill() }
    let path = folder("qmp")
    while !FileManager.default.fileExists(atPath: path), process.isRunning { usleep(10_000) }
    let events = TextLog()
    let ended = TextLog()
    // The file is there before anybody listens at it.
    var found: QMPSocket?
    _ = eventually(within: .seconds(20)) {
      found = try? QMPSocket(
        .unix(path: path), within: 10, onEvent: { events.append("\($0.name)\n".utf8) },
        onEnd: { ended.append("\($0)\n".utf8) })
      return found != nil || !process.isRunning
    }
    let monitor = try #require(found)
    #expect(monitor.takesOutOfBand)
    #expect(try monitor.execute("query-status", within: 10)["status"].string == "prelaunch")
    let error = #expect(throws: MonitorError.self) {
      try monitor.execute("block-job-resume", ["device": "none"], within: 10)
    }
    #expect(error?.kind == .refused)
    try monitor.execute("cont", within: 10)
    #expect(events.wait(.seconds(10)) { $0.text == "RESUME" ? true : nil } == true)
    let instances = try monitor.execute("query-yank", .null, within: 10, outOfBand: true)
    #expect(!instances.elements.isEmpty)
    // Another one that comes meanwhile is told what to do.
    let second = #expect(throws: Failure.self) {
      try QMPSocket(.unix(path: path), within: 0.5)
    }
    #expect(second?.hint?.contains("one of its own") == true)
    // Stopped, it answers nothing; and what comes too late is nobody's.
    process.kill(SIGSTOP)
    let silent = #expect(throws: MonitorError.self) {
      try monitor.execute("query-version", within: 0.3)
    }
    #expect(silent?.kind == .silent)
    process.kill(SIGCONT)
    #expect(try monitor.execute("query-status", within: 10)["running"].bool == true)
    process.kill()
    #expect(ended.wait(.seconds(10)) { _ in true } == true)
    let closed = #expect(throws: MonitorError.self) {
      try monitor.execute("query-status", within: 10)
    }
    #expect(closed?.kind == .closed)
  }
}
