import CHarness
import Glibc

/// What it costs to set up a channel with some options, as the tests of a run have found it: with
/// options that are slow, hundreds of megabytes in some codecs, not every test has to find out.
///
/// In memory that all processes of a run share, mapped by the one that they are forked from. What
/// is not found there is measured, so nothing depends on which test was first.
enum Pace {
  /// Nanoseconds of a processor, both directions together. Most codecs need a thousandth of it.
  private static let slow: UInt64 = 20_000_000

  private static let places = 512
  /// The address of the memory; 0 where there is none.
  private static let address: UInt = {
    let size = places * MemoryLayout<UInt64>.stride
    let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    return start == MAP_FAILED ? 0 : UInt(bitPattern: start)
  }()

  /// A hash of the options in the upper half of each number, microseconds in the lower one.
  ///
  /// Whole numbers in a mapping that nobody takes away, each written at once; a wrong one costs a
  /// test some time.
  private static var costs: UnsafeMutablePointer<UInt64>? {
    UnsafeMutablePointer(bitPattern: address)
  }

  /// Maps the memory, in the process that the others are forked from.
  static func prepare() { _ = address }

  /// Sets both directions up by `body`, and remembers what it costs.
  static func measure<Sides>(
    _ options: [String: String], _ body: () throws(Stop) -> Sides
  ) throws(Stop) -> Sides {
    let start = charness_thread_time()
    let sides = try body()
    let cost = (charness_thread_time() &- start) / 1000
    let hash = hash(options)
    costs?[Int(hash % UInt64(places))] = hash & ~0xffff_ffff | min(cost, 0xffff_ffff)
    return sides
  }

  /// Whether a channel with these options is slow to set up; nil when nobody has tried.
  static func isSlow(_ options: [String: String]) -> Bool? {
    let hash = hash(options)
    guard let known = costs?[Int(hash % UInt64(places))], known != 0,
      known >> 32 == hash >> 32
    else { return nil }
    return (known & 0xffff_ffff) * 1000 > slow
  }

  private static func hash(_ options: [String: String]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for (name, value) in options.sorted(by: { $0.key < $1.key }) {
      for byte in "\(name)=\(value),".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    return hash
  }
}
