import CLinux
import Glibc
import Synchronization

/// Threads of the host (channels, lobby, workers) that are started one by one and waited for
/// together.
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
  /// - Throws: when there can be no more threads (EAGAIN): `body` will not run.
  public func start(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) {
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
    guard status == 0 else {
      box.release()
      throw SystemError("starting the thread '\(name)'", errno: status)
    }
    handles.withLock { $0.append(handle) }
  }

  /// Forgets those that have ended. One that nobody has waited for keeps its stack: a group whose
  /// threads come and go as long as the process lives is to be told now and then.
  public func joinEnded() {
    handles.withLock { handles in
      // Zero seconds: a look.
      handles.removeAll { clinux_join_within(UInt($0), 0) == 0 }
    }
  }

  /// Waits for all threads that were started so far.
  public func joinAll() {
    let all = handles.withLock { handles in
      defer { handles = [] }
      return handles
    }
    for handle in all { pthread_join(handle, nil) }
  }

  /// Waits for them at most `seconds` together. A thread that is inside foreign code, or waits for
  /// storage that does not answer, is left to itself: it keeps what it uses alive, and ends with
  /// the process.
  ///
  /// - Returns: whether all have ended.
  @discardableResult
  public func joinAll(within seconds: Double) -> Bool {
    let all = handles.withLock { handles in
      defer { handles = [] }
      return handles
    }
    let end = ContinuousClock.now + .seconds(seconds)
    var haveEnded = true
    for handle in all {
      let left = max(0, (end - .now) / .seconds(1))
      if clinux_join_within(UInt(handle), left) != 0 {
        pthread_detach(handle)
        haveEnded = false
      }
    }
    return haveEnded
  }
}
