import CHarness
import Glibc
import Synchronization

/// Every callback of a run in a file, with its times and sizes, as Perfetto and Chrome's tracing
/// read it: an array of events, one a line. Each test is a process there.
///
/// The tests' processes append to one file. An event is one write(2), so that lines of two
/// processes do not mix, and what a callback that never returns began is there.
final class CallTrace: Sendable {
  private let descriptor: Int32
  /// Calls so far: fuzzing would fill a disk.
  private let count = Atomic(0)
  private static let most = 20_000

  /// What is known of a call when it has returned.
  struct Sizes {
    /// In the packet.
    var pages = 0
    /// Bytes.
    var payload = 0
  }

  /// Goes on in the file at `path`, for the process of a test. Nil when that cannot be written.
  init?(_ path: String, test: String) {
    descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    write(
      #"{"name":"process_name","ph":"M","pid":\#(getpid()),"args":{"name":"\#(test)"}},"#)
  }

  deinit { close(descriptor) }

  /// A callback is entered. False when it is one too many, and its end is not to be told either.
  func begin(_ name: StaticString, channel: UInt32, packet: UInt64) -> Bool {
    guard count.wrappingAdd(1, ordering: .relaxed).newValue <= Self.most else { return false }
    write(
      #"{"name":"\#(name)","ph":"B",\#(place),"args":{"channel":\#(channel),"packet":\#(packet)}},"#
    )
    return true
  }

  /// The same callback has returned.
  func end(_ name: StaticString, _ status: Int32, _ sizes: Sizes) {
    let status = status == 0 ? "OK" : CallStatus.name(status)
    write(
      #"{"name":"\#(name)","ph":"E",\#(place),"args":{"status":"\#(status)","#
        + #""pages":\#(sizes.pages),"payload":\#(sizes.payload)}},"#)
  }

  private var place: String {
    let now = charness_now()
    return #""ts":\#(now / 1000).\#(padded(now % 1000)),"pid":\#(getpid()),"#
      + #""tid":\#(charness_thread_id())"#
  }

  private func padded(_ number: UInt64) -> String {
    String(String(1000 + number).dropFirst())
  }

  private func write(_ line: String) {
    Array((line + "\n").utf8).withUnsafeBytes { _ = writeAll(descriptor, $0) }
  }

  /// Begins the file of a run.
  static func begin(_ path: String) throws(HarnessFault) {
    guard Array("[\n".utf8).withUnsafeBytes({ writeFile(path, $0) }) else {
      throw HarnessFault("--trace \(path): cannot be written", usage: true)
    }
  }

  /// Ends it: behind the last event there is no comma in JSON.
  static func end(_ path: String) {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let last = #"{"name":"end","ph":"i","s":"g","ts":\#(charness_now() / 1000),"pid":0,"tid":0}"#
    Array((last + "\n]\n").utf8).withUnsafeBytes { _ = writeAll(descriptor, $0) }
  }
}
