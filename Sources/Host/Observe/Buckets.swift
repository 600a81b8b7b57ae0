/// How often something has taken how long, in classes that are the same everywhere and add up: what
/// a monitoring system keeps. For a summary on the spot there is ``Timings``.
public struct Buckets: Codable, Equatable, Sendable {
  /// The longest of each class, in seconds; one more class has all above.
  public static let bounds: [Double] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
  ]

  /// How many were in each class.
  public private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
  /// All of them together, in seconds.
  public private(set) var sum = 0.0

  /// None yet.
  public init() {}

  /// How many there were.
  public var count: UInt64 { counts.reduce(0, +) }

  /// Adds one.
  public mutating func record(_ duration: Duration) {
    let seconds = max(0, duration / .seconds(1))
    counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
    sum += seconds
  }
}
