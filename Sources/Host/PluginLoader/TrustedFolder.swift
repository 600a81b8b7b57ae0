import CLinux
import Glibc

/// A folder in which nobody but root and the host's own user can put another file in the place of
/// one, neither there nor by moving a folder above it, open.
///
/// Each folder from the root down is looked at on the descriptor by which the next one is opened.
/// It belongs to root or the user (when privileged: to root) and is writable for its owner only. A
/// sticky folder of root's, such as /tmp, may stand above, for what is ours in it others cannot
/// move away; but everybody can add a file to it, so it is no folder for libraries.
final class TrustedFolder {
  /// Good for openat(2) and in /proc/self/fd, and not for reading.
  let descriptor: Int32
  private var isKept = false

  /// - Parameters:
  ///   - real: its path, as realpath(3) gives it.
  ///   - path: what an error is about.
  init(
    _ real: String, as path: String, privileged: Bool, _ subject: PluginTrust.Subject
  ) throws(PluginError) {
    let steps = real.split(separator: "/").map(String.init)
    var current = clinux_open_folder(AT_FDCWD, "/"), place = "/"
    for (number, step) in ([""] + steps).enumerated() {
      if number > 0 {
        let next = clinux_open_folder(current, step), error = errno
        close(current)
        guard next >= 0 else {
          // Not even a link any more, where realpath(3) has found a folder.
          let isLink = error == ENOTDIR || error == ELOOP
          throw .refused(path, isLink ? "\(real) is not a folder" : errorText(error))
        }
        current = next
        place += (number == 1 ? "" : "/") + step
      }
      var status = stat()
      guard current >= 0, fstat(current, &status) == 0 else {
        let error = errno
        close(current)
        throw .refused(path, errorText(error))
      }
      let isLast = number == steps.count
      if !isLast, status.st_uid == 0, status.st_mode & S_ISVTX != 0 { continue }
      do {
        try PluginTrust.check(
          status, of: place, as: path,
          noun: isLast ? "its folder \(place)" : "the folder \(place) above it",
          privileged: privileged, subject)
      } catch {
        close(current)
        throw error
      }
    }
    descriptor = current
  }

  deinit { if !isKept { close(descriptor) } }

  /// Keeps the descriptor for the life of the process: a dynamic linker goes by it, and another
  /// folder must not get the number.
  func keep() { isKept = true }
}
