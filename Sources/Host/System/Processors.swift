import CLinux
import Glibc

/// The machine's processors.
public enum Processors {
  /// How many this process may use.
  public static var usable: Int {
    let count = Int(clinux_usable_processors())
    // More than can be asked for by a mask: all of them.
    return count > 0 ? count : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  }
}
