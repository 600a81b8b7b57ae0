import CLinux
import Glibc

/// One thread of the host: a channel, the lobby, a worker. Joined exactly once.
public struct HostThread: ~Copyable {
  private let handle: pthread_t

  private final class Start {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts a thread.
  ///
  /// - Parameter name: as tools show it; 15 bytes count.
  public init(_ name: String, _ body: @escaping @Sendable () -> Void) {
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
    self.handle = handle
  }

  /// Waits for the end of the thread.
  public consuming func join() { pthread_join(handle, nil) }

  /// Hands the thread to somebody else, who joins it.
  consuming func release() -> pthread_t { handle }
}
