import Synchronization

/// Whether pages may come: in precopy always, then only between a checkpoint's answer and its end.
/// A channel asks with each packet, so it costs a load of a line that nobody writes meanwhile.
package final class Gate: Sendable {
  private let isOpen = Atomic(true)

  /// One channel's side of it.
  package final class Pass: Sendable {
    fileprivate let isInside = Atomic(false)

    /// Of a channel that is outside.
    package init() {}
  }

  /// Open.
  package init() {}

  /// From here on pages may come.
  package func open() { isOpen.store(true, ordering: .sequentiallyConsistent) }

  /// From here on no pages may come.
  package func close() { isOpen.store(false, ordering: .sequentiallyConsistent) }

  /// A channel begins pages.
  ///
  /// - Returns: false if it may not.
  package func enter(_ pass: Pass) -> Bool {
    // This store and load against those of `close` and `isInside`, all sequentially consistent: one
    // of the two sees the other. Only the channel itself takes the mark back, so it is made once an
    // epoch.
    if !pass.isInside.load(ordering: .relaxed) {
      pass.isInside.store(true, ordering: .sequentiallyConsistent)
    }
    return isOpen.load(ordering: .sequentiallyConsistent)
  }

  /// A channel has met a SYNC.
  package func leave(_ pass: Pass) { pass.isInside.store(false, ordering: .sequentiallyConsistent) }

  /// Whether a channel has begun pages that no SYNC has ended.
  package func isInside(_ pass: Pass) -> Bool {
    pass.isInside.load(ordering: .sequentiallyConsistent)
  }
}
