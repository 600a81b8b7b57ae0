/// Notices a disk whose copy does not come to its end: one that stops, is resumed, and stops again
/// where it has stopped before.
///
/// A mirror stops at a read or a write that fails, and goes on with what else is to be copied when it
/// is resumed. So one that is stopped by its connection gets nearer each time, and one that meets a
/// block that cannot be read comes as near as that and no nearer.
package struct StoppedCopies {
  private struct Disk {
    var nearest: Int
    var stops: Int
  }

  /// How often a copy may stop without having come nearer.
  package static let limit = 10
  private var disks: [String: Disk] = [:]

  package init() {}

  /// Counts a stop.
  ///
  /// - Parameter remaining: bytes that are still to be copied.
  /// - Returns: whether it was one too many.
  package mutating func isTooMuch(_ disk: String, remaining: Int) -> Bool {
    guard let last = disks[disk], remaining >= last.nearest else {
      disks[disk] = Disk(nearest: remaining, stops: 1)
      return false
    }
    disks[disk]?.stops += 1
    return last.stops + 1 > Self.limit
  }
}
