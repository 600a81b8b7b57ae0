import CLinux
import Glibc
import Synchronization

/// Threads of the host (channels, lobby, workers) that are started one by one and waited for together.
public final class ThreadGroup: Sendable {
  private final class Start {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  private let handles = Mutex<[pthread_t]>([])

  /// An empty group.
  public init() {}

  /// Starts a thread.
  ///
  /// - Parameter name: as tools show it; 15 bytes count.
  public func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
    // The box is retained for the thread, which takes it over as its first act.
    let box = Unmanaged.passRetained(Start(name: name, body: body))
    var handle = pthread_t()
    let status = pthread_create(
      &handle, nil,
      { argument in
        let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        clinux_set_thread_name(start.name)
        start.body()
        return nil
      }, box.toOpaque())
    precondition(status == 0, "pthread_create: \(status)")
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
