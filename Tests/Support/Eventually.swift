import Foundation

/// Waits until something is so, on a machine that may have much else to do.
///
/// - Returns: whether it came to be so in time.
public func eventually(
  within time: Duration = .seconds(10), _ isSo: () throws -> Bool
) rethrows -> Bool {
  let deadline = ContinuousClock.now + time
  while try !isSo() {
    guard ContinuousClock.now < deadline else { return false }
    usleep(2000)
  }
  return true
}
