import Foundation

/// The serial line of one of the lab's guests (Tests/Guest): what it says of itself, and orders to it.
public final class GuestConsole: Sendable {
  /// One heartbeat: the guest is alive, and every page it has looked at was as it should be, or was
  /// not.
  public struct Heartbeat: Sendable {
    /// Its number, from 0; counted in the guest's own memory, so it goes on across a migration.
    public let number: Int
    /// Wrong pages the guest has found since it booted.
    public let bad: Int
    /// Where it stands in `log`.
    public let line: TextLog.Line
  }

  /// The guest's answer to an order to check all of its memory.
  public struct FullCheck: Sendable {
    /// Pages checked.
    public let pages: Int
    /// Pages whose content was wrong.
    public let bad: Int
    /// The line as the guest wrote it.
    public let text: String
  }

  /// Everything the guest wrote while this QEMU ran it.
  public let log = TextLog()
  private let descriptor: Int32

  /// Connects to QEMU's end of the line, which may not be there yet, while `alive` says that it is
  /// worth waiting.
  public init(path: String, timeout: Duration = .seconds(30), while alive: () -> Bool) throws {
    let deadline = ContinuousClock.now + timeout
    while true {
      if let descriptor = Sockets.connect(unix: path) {
        self.descriptor = descriptor
        break
      }
      guard alive() else { throw LabError("QEMU ended before it made its serial line") }
      guard ContinuousClock.now < deadline else { throw LabError("no serial line at \(path)") }
      Thread.sleep(forTimeInterval: 0.02)
    }
    // A descriptor of the reader's own, so that neither side closes the other's.
    let (own, log) = (fcntl(descriptor, F_DUPFD_CLOEXEC, 0), log)
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 4096)
      while case let count = Sockets.read(own, &buffer), count > 0 { log.append(buffer[..<count]) }
      close(own)
      log.end()
    }
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  /// Types a line. Slowly: the guest polls a line of sixteen bytes of buffer.
  public func send(_ line: String) {
    for byte in Array((line + "\n").utf8) {
      Sockets.write(descriptor, [byte])
      Thread.sleep(forTimeInterval: 0.004)
    }
  }

  /// Sets how fast the guest rewrites its working set, in MiB/s.
  public func setRate(_ rate: Int) { send("set rate \(rate)") }

  /// Sets what it writes: `zero`, `text` or `rand`.
  public func setMix(_ mix: String) { send("set mix \(mix)") }

  /// The heartbeats so far.
  public var heartbeats: [Heartbeat] { log.lines.compactMap(Self.heartbeat) }

  /// Waits for a heartbeat with at least this number; nil at the time-out, and when the guest's
  /// kernel panics.
  public func waitHeartbeat(atLeast number: Int = 0, from line: Int = 0, _ timeout: Duration)
    -> Heartbeat?
  {
    let found = log.wait(from: line, timeout) { line -> Heartbeat?? in
      if line.text.contains("Kernel panic") { return .some(nil) }
      guard let beat = Self.heartbeat(line), beat.number >= number else { return nil }
      return .some(beat)
    }
    return found ?? nil
  }

  /// Orders a check of all memory the guest owns; nil when it does not answer in time.
  public func fullCheck(_ timeout: Duration = .seconds(120)) -> FullCheck? {
    let start = log.lines.count
    send("full")
    return log.wait(from: start, timeout) { line in
      guard line.text.hasPrefix("CHK full=1 "), let pages = Self.field("pages", line.text),
        let bad = Self.field("bad", line.text)
      else { return nil }
      return FullCheck(pages: pages, bad: bad, text: line.text)
    }
  }

  /// Lines that say that the guest's kernel or memory is damaged.
  public var trouble: [String] { trouble(from: 0) }

  /// Those behind so many lines of its console.
  public func trouble(from start: Int) -> [String] {
    let signs = [
      "BUG:", "Oops", "BADPAGE", "BADSECTOR", "Kernel panic", "segfault at", "CORRUPT",
    ]
    return log.lines.dropFirst(start).map(\.text)
      .filter { line in signs.contains { line.contains($0) } }
  }

  private static func heartbeat(_ line: TextLog.Line) -> Heartbeat? {
    // The end is checked too: a line may have been cut in two by a migration.
    guard line.text.hasPrefix("HB n="), line.text.hasSuffix("OK") || line.text.hasSuffix("CORRUPT"),
      let number = field("n", line.text), let bad = field("bad", line.text)
    else { return nil }
    return Heartbeat(number: number, bad: bad, line: line)
  }

  static func field(_ name: String, _ line: String) -> Int? {
    for word in line.split(separator: " ") where word.hasPrefix(name + "=") {
      return Int(word.dropFirst(name.count + 1))
    }
    return nil
  }
}
