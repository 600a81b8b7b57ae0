import Glibc
import Synchronization

/// Threads that are started one by one and waited for together.
public final class ThreadGroup: Sendable {
  private let handles = Mutex<[pthread_t]>([])

  /// An empty group.
  public init() {}

  /// Starts a thread. See ``HostThread``.
  public func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let handle = HostThread(name, body).release()
    handles.withLock { $0.append(handle) }
  }

  /// Waits for all threads that were started so far.
  public func joinAll() {
    let all = handles.withLock { handles in
      defer { handles = [] }
      return handles
    }
    for handle in all { pthread_join(handle, nil) }
  }
}
