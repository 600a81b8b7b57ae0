import CHarness

/// How long a loop goes on with a slow codec, of a quick run mostly: the packets that it is there for
/// come first, and a full run has the others. With a codec that takes some microseconds for a page
/// it does not end before its time.
///
/// By the time that this thread has had of a processor: on a busy machine no less is tried.
struct Patience {
  private let start = charness_thread_time()
  /// Nanoseconds.
  private let most: UInt64

  /// So many milliseconds in a quick run, and `full` in a full one, where that has an end; a long one
  /// has none.
  init(_ context: Context, milliseconds: UInt64, full: UInt64? = nil) {
    let limit =
      context.order.isLong ? nil : context.order.isQuick ? milliseconds : full
    most = limit.map { $0 * 1_000_000 } ?? .max
  }

  /// Whether it is over.
  var isOver: Bool { charness_thread_time() &- start >= most }
}
