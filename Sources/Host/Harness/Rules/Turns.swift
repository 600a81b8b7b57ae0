import Glibc

/// Which of the tests that do the same has been first to be repeated with options: the others need
/// not be.
///
/// In memory that all processes of a run share, as ``Pace``. Where two are first, both are
/// repeated.
enum Turns {
  private static let address: UInt = {
    let start = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    return start == MAP_FAILED ? 0 : UInt(bitPattern: start)
  }()

  /// Maps the memory, in the process that the others are forked from.
  static func prepare() { _ = address }

  /// Whether this test is none of several that do the same, or the first of them.
  static func isFirst(alike test: String) -> Bool {
    // A byte for each list, of which there are few, in a mapping that nobody takes away.
    guard let list = Bounds.alike.firstIndex(where: { $0.tests.contains(test) }),
      let taken = UnsafeMutablePointer<UInt8>(bitPattern: address)
    else { return true }
    defer { taken[list] = 1 }
    return taken[list] == 0
  }
}
