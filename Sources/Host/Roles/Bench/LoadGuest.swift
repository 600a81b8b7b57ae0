import Foundation
import Migration

/// A guest that does nothing but rewrite memory: text-like pages at a given rate, asleep in
/// between. It boots at once, from half a kilobyte that `-kernel` loads (loadguest.s), on machines
/// of the PC kind.
struct LoadGuest {
  /// MiB/s that it rewrites.
  let rate: Int
  /// MiB that it goes round in.
  let workingSet: Int

  // Where loadguest.s has its variables: word index in the image, and the image's address.
  private static let (rateWord, pagesWord, readyWord) = (8, 9, 10)
  private static let address = 0x100000
  private static let memoryBelow = 16
  private static let pagesInMiB = 256
  private static let ticksInSecond = 100

  /// MiB that the machine must have.
  var leastMemory: Int { workingSet + Self.memoryBelow + 16 }

  /// The image for QEMU's `-kernel`.
  var image: Data {
    var words = LoadGuestImage.words
    words[Self.rateWord] = UInt32(
      (rate * Self.pagesInMiB + Self.ticksInSecond / 2) / Self.ticksInSecond)
    words[Self.pagesWord] = UInt32(workingSet * Self.pagesInMiB)
    return words.withUnsafeBytes { Data($0) }
  }

  /// Waits until the working set is filled: from then on it works at its rate.
  func waitReady(_ monitor: QMPConnection, timeout: Double) throws {
    let deadline = ContinuousClock.now + .seconds(timeout)
    let place = String(Self.address + Self.readyWord * 4, radix: 16)
    // The answer: ADDRESS: 0x00000001
    while try !monitor.human("xp /1wx 0x\(place)").contains("0x00000001") {
      guard ContinuousClock.now < deadline else {
        throw Failure(.unreachable, "guest", "the load guest has not come up within \(timeout) s")
      }
      usleep(20_000)
    }
  }
}
