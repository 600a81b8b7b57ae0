import CHarness
import Glibc

/// A process that looks like one on another machine: another host name (where that can be had),
/// folder, environment, and one processor.
enum Elsewhere {
  /// The value of MULTIFD_HARNESS_DIGEST that asks for it.
  static let word = "elsewhere"

  /// Goes there, if this process was told to; before the library is opened.
  static func enterIfAsked() {
    guard let value = getenv("MULTIFD_HARNESS_DIGEST"), String(cString: value) == word else {
      return
    }
    _ = charness_rename_host()
    _ = chdir("/")
    let settings = [
      ("HOSTNAME", "another-host"), ("USER", "nobody"), ("LOGNAME", "nobody"), ("HOME", "/"),
      ("TZ", "Pacific/Chatham"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"),
    ]
    for (name, value) in settings { setenv(name, value, 1) }
    charness_last_processor()
  }
}
