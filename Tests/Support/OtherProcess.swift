import CLinux
import Foundation

/// A process that is nobody's child here, and known by its number only.
public enum OtherProcess {
  /// The words of its command line, a NUL behind each; empty where it is gone, or a zombie.
  public static func commandLine(_ pid: pid_t) -> String {
    let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
    return String(decoding: line, as: UTF8.self)
  }

  /// Ends it with SIGKILL, if it is the one that is meant: it is got hold of before it is looked
  /// at, so that no other process that has got its number can be hit.
  public static func kill(_ pid: pid_t, where isTheOne: (pid_t) -> Bool) {
    let process = clinux_pidfd_open(pid)
    guard process >= 0 else { return }
    defer { close(process) }
    if isTheOne(pid) { _ = clinux_pidfd_send_signal(process, SIGKILL) }
  }
}
