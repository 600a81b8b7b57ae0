/// Which of a channel's slots are in flight: packets are done with in the order in which they came,
/// so those are a stretch of a ring.
package struct Flight {
  /// How many slots there are.
  package let depth: Int
  private var first = 0
  /// How many packets are in flight.
  package private(set) var count = 0

  /// - Parameter depth: at least 1.
  package init(depth: Int) { self.depth = depth }

  /// A slot for another packet; nil when all are in flight.
  package mutating func push() -> Int? {
    guard count < depth else { return nil }
    count += 1
    return (first + count - 1) % depth
  }

  /// The slot of the packet that came first; nil when none is in flight.
  package mutating func pop() -> Int? {
    guard count > 0 else { return nil }
    defer { (first, count) = ((first + 1) % depth, count - 1) }
    return first
  }

  /// The packet that came last was none.
  package mutating func cancelLast() { count -= 1 }
}
