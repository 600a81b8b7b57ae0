import CLinux
import Foundation
import Glibc
import Memory
import Migration
import Store
import System

/// The file `spare` of a store: which QEMU has the RAM files mapped and has not been fed.
///
/// A process that is killed cannot end it, and it would wait for ever, on names (VNC, tap, ports)
/// that the next QEMU needs. Whoever opens the store next ends it. The file is removed *before* the
/// QEMU is fed: what it names has never run the guest.
///
/// It says `PID START BOOT`: the number, when the process was started, in ticks since the machine
/// was, and which start of the machine that is. A number that another process has by now is known
/// by that, so nothing else is asked of the process.
enum SpareRecord {
  /// Says that `pid` waits. Not an error when it cannot: then an orphan is the operator's to end.
  static func write(_ pid: pid_t, store: String) {
    guard let start = startTime(pid) else { return }
    let words = ["\(pid)", "\(start)", Manifest.thisBoot].compactMap(\.self)
    try? StoreRecord.spare.write(Data((words.joined(separator: " ") + "\n").utf8), to: store)
  }

  /// Says that nothing waits, unless another than `pid` does by now.
  static func remove(_ pid: pid_t, store: String) {
    if (try? read(store))?.pid == pid { try? StoreRecord.spare.remove(from: store) }
  }

  /// The QEMU that waits, or waited; nil if there is none.
  static func read(_ store: String) throws(StoreError) -> (pid: pid_t, start: UInt64)? {
    guard let data = try StoreRecord.spare.contents(of: store) else { return nil }
    let text = String(decoding: data.prefix(100), as: UTF8.self)
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count >= 2, let pid = pid_t(words[0]), let start = UInt64(words[1]), pid > 1 else {
      return nil
    }
    // What was left before the machine was started again has ended with that.
    if words.count > 2, let boot = Manifest.thisBoot, words[2] != boot { return nil }
    return (pid, start)
  }

  /// The QEMU that waits on this store now; nil if there is none.
  static func waiting(_ store: String) -> pid_t? {
    guard let (pid, start) = try? read(store), startTime(pid) == start else { return nil }
    return pid
  }

  /// Ends what a process that was killed has left waiting. Call it with the store locked, and not
  /// while a spare of this process waits.
  ///
  /// - Throws: where it cannot be ended. The record stays then.
  static func endOrphan(of store: String, log: (String) -> Void) throws {
    if let (pid, start) = try read(store), pid != getpid() {
      try end(pid, startedAt: start, log)
    }
    try StoreRecord.spare.remove(from: store)
  }

  private static func end(
    _ pid: pid_t, startedAt start: UInt64, _ log: (String) -> Void
  ) throws {
    // First the process is got hold of, then it is looked at: so the one that is ended is the one
    // that was looked at, and not another that has got its number in between.
    let process = clinux_pidfd_open(pid)
    guard process >= 0 else {
      if errno == ESRCH { return }
      throw Self.cannotEnd(pid, SystemError("pidfd_open").reason)
    }
    defer { close(process) }
    guard startTime(pid) == start else { return }
    guard clinux_pidfd_send_signal(process, SIGKILL) == 0 || errno == ESRCH else {
      throw Self.cannotEnd(pid, SystemError("pidfd_send_signal").reason)
    }
    // Its names are free only when it has ended, and then the descriptor is readable.
    var ended = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
    let deadline = ContinuousClock.now + .seconds(10)
    while poll(&ended, 1, 100) <= 0 {
      guard ContinuousClock.now < deadline else { throw Self.cannotEnd(pid, "it stays") }
    }
    log("ended pid \(pid), a spare QEMU that was left waiting")
  }

  private static func cannotEnd(_ pid: pid_t, _ why: String) -> Failure {
    Failure(
      .failed, "failover", "pid \(pid), a QEMU that waits on this store, cannot be ended: \(why)",
      hint: "end it, and try again")
  }

  /// When a process was started, in clock ticks since the machine was: proc_pid_stat(5), field 22.
  static func startTime(_ pid: pid_t) -> UInt64? {
    guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
    // The command stands in parentheses and may have some of its own: what follows the last is
    // field 3.
    let text = String(decoding: data, as: UTF8.self)
    guard let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count > 19 ? UInt64(fields[19]) : nil
  }
}
