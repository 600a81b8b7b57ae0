import Histogram

/// Durations of something that happens again and again: mean, percentiles, maximum. One writer.
public struct Timings: Sendable {
  private var histogram = Histogram<UInt64>(
    highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: .three)

  /// None yet.
  public init() {}

  /// Adds one.
  public mutating func record(_ duration: Duration) {
    let micros = UInt64(max(0, duration / .microseconds(1)))
    _ = histogram.record(min(micros, 600_000_000))
  }

  /// What they amount to.
  public var summary: Summary {
    Summary(
      count: Int(histogram.totalCount), mean: histogram.mean / 1000,
      p50: Double(histogram.valueAtPercentile(50)) / 1000,
      p99: Double(histogram.valueAtPercentile(99)) / 1000, max: Double(histogram.max) / 1000)
  }

  /// What these amount to; nil when there are none.
  public static func summary(of durations: [Duration]) -> Summary? {
    guard !durations.isEmpty else { return nil }
    var timings = Timings()
    for duration in durations { timings.record(duration) }
    return timings.summary
  }

  /// Milliseconds.
  public struct Summary: Codable, Equatable, Sendable {
    /// How many.
    public var count: Int
    /// The mean.
    public var mean: Double
    /// Half of them are at most so long.
    public var p50: Double
    /// 99 of 100 are at most so long.
    public var p99: Double
    /// The longest.
    public var max: Double
  }
}
