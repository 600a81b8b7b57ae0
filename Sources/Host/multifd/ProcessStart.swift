import CLinux
import Foundation

/// What this process settles about itself before it opens anything.
enum ProcessStart {
  /// More than 255 channels and any guest's blocks; a child that closes every number it may have is
  /// done soon.
  private static let descriptors: rlim_t = 65536

  /// Call it first, in the only thread.
  static func prepare() {
    // Without /dev/null nothing can be said, to nobody.
    if clinux_fill_standard_files() != 0 { exit(70) }
    // A log that nobody reads any more is no reason to end in the middle of a failover.
    signal(SIGPIPE, SIG_IGN)
    // A file that may not become so long is an error like a full disk, and not the end, with half a
    // store left.
    signal(SIGXFSZ, SIG_IGN)
    // Where whoever started this ignores it, children are reaped by the kernel: then how they ended
    // is not known, and their numbers may be others' when they are to be ended.
    signal(SIGCHLD, SIG_DFL)
    raiseDescriptors()
  }

  /// As many open files as the hard limit allows. The QEMUs that are started inherit that: they
  /// need more than they are given by default, and wait for none of them with select(2).
  private static func raiseDescriptors() {
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    guard getrlimit(files, &limit) == 0 else { return }
    let wanted = min(limit.rlim_max, descriptors)
    guard limit.rlim_cur < wanted else { return }
    limit.rlim_cur = wanted
    setrlimit(files, &limit)
  }
}
