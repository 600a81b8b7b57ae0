import Foundation
import Glibc

/// The file `spare` of a store: the pid of a QEMU that has the RAM files mapped and has not been fed.
///
/// A process that is killed cannot end it, and it would wait for ever, on names (VNC, tap, ports) that the
/// next QEMU needs. Whoever opens the store next ends it. The file is removed *before* the QEMU is fed: what
/// it names has never run the guest.
enum SpareRecord {
  private static func file(_ store: String) -> String { store + "/spare" }

  /// Says that `pid` waits. Not an error when it cannot: then an orphan is the operator's to end.
  static func write(_ pid: pid_t, store: String) {
    try? Data("\(pid)\n".utf8).write(to: URL(fileURLWithPath: file(store)), options: .atomic)
  }

  /// Says that nothing waits, unless another than `pid` does by now.
  static func remove(_ pid: pid_t, store: String) {
    if read(store) == pid { unlink(file(store)) }
  }

  /// The QEMU that waits, or waited; nil if there is none.
  static func read(_ store: String) -> pid_t? {
    guard let data = FileManager.default.contents(atPath: file(store)) else { return nil }
    let text = String(decoding: data, as: UTF8.self)
    return pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Ends what a process that was killed has left waiting. Call it with the store locked, and not while a
  /// spare of this process waits.
  ///
  /// - Parameter store: its real path, as QEMU was told it.
  static func endOrphan(of store: String, log: (String) -> Void) throws {
    guard let pid = read(store) else { return }
    defer { unlink(file(store)) }
    // The number may be another process's by now.
    guard pid > 1, pid != getpid(), maps(pid, store) else { return }
    guard Glibc.kill(pid, SIGKILL) == 0 || errno == ESRCH else {
      throw Failure(
        .failed, "failover", "pid \(pid), a QEMU that waits on this store, cannot be ended",
        hint: "end it, and try again")
    }
    // It is not this process's child: its end shows in /proc. Its names are free only then.
    let deadline = ContinuousClock.now + .seconds(10)
    while maps(pid, store), ContinuousClock.now < deadline { usleep(2000) }
    log("ended pid \(pid), a spare QEMU that was left waiting")
  }

  /// Whether a process has a RAM file of the store in its command line, in either notation of QEMU's.
  private static func maps(_ pid: pid_t, _ store: String) -> Bool {
    guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
      return false
    }
    let doubled = store.replacingOccurrences(of: ",", with: ",,")
    return data.split(separator: 0).contains { argument in
      let argument = String(decoding: argument, as: UTF8.self)
      return argument.contains("mem-path=\(doubled)/ram/")
        || argument.contains("\"mem-path\":\"\(store)/ram/")
    }
  }
}
