/// Notices a standby's disk that takes no writes, although nothing has failed: the guest waits for
/// them, and neither QEMU nor the standby need say anything meanwhile. Its memory, too, while that is
/// copied.
///
/// A mirror's `len - offset` counts what is to be written there, the guest's own writes included,
/// and each that is done moves `offset` on. So one whose `offset` stays while there is something to
/// do makes the guest wait.
package struct StandingWrites {
  private struct Disk {
    var copied: Int
    var since: ContinuousClock.Instant
  }

  private let limit: Duration
  private var disks: [String: Disk] = [:]

  /// - Parameter limit: how long writes may take.
  package init(limit: Duration) { self.limit = limit }

  /// Looks at a disk's mirror.
  ///
  /// - Parameters:
  ///   - copied: bytes that the standby has: the job's `offset`.
  ///   - total: bytes in all: its `len`.
  /// - Returns: how long nothing has been written although something is to be; nil while that is
  ///   within the limit.
  package mutating func look(
    _ disk: String, copied: Int, total: Int, at now: ContinuousClock.Instant = .now
  ) -> Duration? {
    guard copied < total, let last = disks[disk], last.copied == copied else {
      disks[disk] = Disk(copied: copied, since: now)
      return nil
    }
    let time = last.since.duration(to: now)
    return time > limit ? time : nil
  }
}
