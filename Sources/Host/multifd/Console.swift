import Foundation
import Memory
import Synchronization

/// What the program says: results on stdout, everything else on stderr.
enum Console {
  /// The form of notes, warnings and errors.
  static let format = Mutex(LogFormat.auto.settled)

  /// An error, and a hint where there is one.
  static func error(_ what: String, _ why: String, hint: String?) {
    log(LogLine(level: .error, message: "\(what): \(why)", hint: hint))
  }

  /// Something that has to be looked at, and ends nothing.
  static func warn(_ text: String) { log(LogLine(level: .warning, message: text)) }

  /// In one write, so that no two processes' lines mix.
  private static func log(_ line: LogLine) {
    write(line.text(format.withLock { $0 }))
  }

  /// Text as it may be shown on a terminal: a name in a stream, or a word in somebody else's store,
  /// moves no cursor.
  static func printable(_ text: String) -> String {
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      let isControl = scalar.properties.generalCategory == .control && scalar != "\n"
      shown.append(isControl ? "?" : scalar)
    }
    return String(shown)
  }

  /// `multifd: TEXT`.
  static func note(_ text: String) { note(text, hint: nil) }

  /// The same, and what to do.
  static func note(_ text: String, hint: String?) {
    log(LogLine(level: .info, message: text, hint: hint))
  }

  /// A line on stderr.
  static func say(_ line: String) { write(printable(line) + "\n") }

  /// Text on stderr, as far as it can be written: a log whose file system is full, or a reader that
  /// stands still, stops nothing.
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      var done = 0
      // The rest lies within the string's bytes, which stay where they are in this closure.
      while done < bytes.count {
        var polled = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        let isReady = poll(&polled, 1, 1000)
        if isReady < 0, errno == EINTR { continue }
        guard isReady > 0 else { return }
        let count = Glibc.write(STDERR_FILENO, bytes.baseAddress! + done, bytes.count - done)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        done += count
      }
    }
  }

  /// One JSON object on stdout.
  static func json(_ value: some Encodable) { print(text(json: value)) }

  /// One JSON object as text.
  static func text(json value: some Encodable) -> String { encode(value, [.prettyPrinted]) }

  /// The same in one line, without its end.
  static func line(json value: some Encodable) -> String { encode(value, []) }

  private static func encode(
    _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting
  ) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
    // Only a number that is none could not be written, and there are none.
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }

  /// Bytes as people write them: `1.5 GiB`.
  static func bytes(_ count: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : String(format: "%.1f %@", value, units[unit])
  }

  /// What memory comes in: `pages of 2 MiB (tmpfs)`.
  static func pages(_ size: Int, _ fileSystem: FilePages.FileSystem) -> String {
    let home = fileSystem == .other ? "" : " (\(fileSystem.rawValue))"
    return size >= 1 << 20
      ? "pages of \(size >> 20) MiB\(home)" : "pages of \(size >> 10) KiB\(home)"
  }

  /// Milliseconds as people write them.
  static func time(_ milliseconds: Double) -> String {
    milliseconds < 1000
      ? String(format: "%.0f ms", milliseconds) : String(format: "%.2f s", milliseconds / 1000)
  }
}
