import PluginAPI

/// Where a receiver's payload bytes come from: the host's channel.
///
/// Called on the channel's thread, inside `ReceiveChannel.receive()`. Each call fills all the
/// memory it is given, in order, or throws; what it throws is kept and rethrown by `receive()`. The
/// memory is the backend's or guest pages and valid during the call only.
public protocol PayloadSource: AnyObject {
  /// Fills `buffer`.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws
  /// Fills the pieces one after the other. They may be more than the kernel's IOV_MAX.
  func readv(_ pieces: UnsafeBufferPointer<MultiFDIOVec>) throws
}

/// How important a line of a backend's log is.
public enum BackendLogLevel: UInt32, Sendable {
  /// Something failed.
  case error = 0
  /// Something is not as it should be.
  case warning = 1
  /// Worth knowing.
  case info = 2
  /// For the backend's author.
  case debug = 3
}

/// Where a backend's log lines go: level and one line without control characters. Called on
/// whatever thread the backend runs on.
public typealias BackendLog = @Sendable (BackendLogLevel, String) -> Void
