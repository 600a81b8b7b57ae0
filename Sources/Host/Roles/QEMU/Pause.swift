import Glibc

/// A wait between two questions.
enum Pause {
  /// 50 ms: often enough for what a QEMU does, and seldom enough to cost nothing.
  static func short() { usleep(50_000) }
}
