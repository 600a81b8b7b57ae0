import CHarness

/// How long a loop of a quick run goes on with a slow codec: the packets that it is there for come
/// first, and a full run has the others. With a codec that takes some microseconds for a page it
/// does not end before its time.
///
/// By the time that this thread has had of a processor: on a busy machine no less is tried.
struct Patience {
  private let start = charness_thread_time()
  /// Nanoseconds; in a full run as many as there are.
  private let most: UInt64

  init(_ context: Context, milliseconds: UInt64) {
    most = context.order.isQuick ? milliseconds * 1_000_000 : .max
  }

  /// Whether it is over.
  var isOver: Bool { charness_thread_time() &- start >= most }
}
