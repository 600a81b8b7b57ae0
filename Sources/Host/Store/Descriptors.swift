import Foundation
import Glibc

/// The files that a process may have open.
enum Descriptors {
  /// A store's RAM blocks and cache, what a commit opens, and a failover's sockets and pipes.
  static let needed = 64

  /// Makes sure at the start that there are some left: later a guest's life may depend on them.
  ///
  /// - Parameter connections: how many of them there will be, beyond a few.
  static func expectRoom(for connections: Int = 0) throws(StoreError) {
    let needed = Self.needed + connections
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
    guard limit.rlim_cur < UInt(open + needed) else { return }
    throw StoreError(
      .system,
      "only \(limit.rlim_cur) files may be open, \(open) are, and \(needed) more are needed",
      hint: "raise the limit (ulimit -n 1024)")
  }
}
