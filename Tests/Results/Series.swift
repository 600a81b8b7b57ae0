// Results: what benchmarks have measured, as values, and the page that is made of them. Pure: who
// measures is the lab.

import Foundation

/// Values of one kind, one for each round of a measurement.
public struct Series: Equatable, Sendable {
  /// In the order of the rounds.
  public var values: [Double]

  /// Values in the order of their rounds.
  public init(_ values: [Double] = []) { self.values = values }

  /// The one in the middle, of two their mean; nan of none.
  public var median: Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// The least; nan of none.
  public var low: Double { values.min() ?? .nan }
  /// The greatest; nan of none.
  public var high: Double { values.max() ?? .nan }

  /// Each of these in terms of what `other` was in the same round. A round that one of the two does
  /// not have is left out, and so is one in which `other` is nothing.
  public func relative(to other: Series) -> Series {
    Series(zip(values, other.values).filter { $0.1 > 0 }.map { $0.0 / $0.1 })
  }

  /// All of them in another unit.
  public func scaled(by factor: Double) -> Series { Series(values.map { $0 * factor }) }

  /// `0.53 (0.51–0.60)`: the median and between which values it lies. One value stands alone, and
  /// none is a dash.
  public func text(_ digits: Int = 2) -> String {
    guard !values.isEmpty else { return "–" }
    guard values.count > 1 else { return fixed(median, digits) }
    return "\(fixed(median, digits)) (\(fixed(low, digits))–\(fixed(high, digits)))"
  }

  /// The median alone.
  public func middle(_ digits: Int = 2) -> String {
    values.isEmpty ? "–" : fixed(median, digits)
  }
}

/// A number with so many digits behind the point.
func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
