import ArgumentParser
import Foundation

/// The form of what is said on stderr.
enum LogFormat: String, ExpressibleByArgument, CaseIterable {
  case auto, text, json, journal

  /// What it is here: `auto` is `journal` where stderr is the journal's, as systemd.exec(5) has
  /// one find out, else `text`.
  var settled: LogFormat {
    guard self == .auto else { return self }
    var status = stat()
    guard fstat(STDERR_FILENO, &status) == 0,
      ProcessInfo.processInfo.environment["JOURNAL_STREAM"]
        == "\(status.st_dev):\(status.st_ino)"
    else { return .text }
    return .journal
  }
}

/// Something that is said on stderr.
struct LogLine {
  /// How much it matters: syslog(3)'s numbers.
  enum Level: Int {
    case error = 3
    case warning = 4
    case info = 6

    /// Its name in JSON.
    var name: String {
      switch self {
      case .error: "error"
      case .warning: "warning"
      case .info: "info"
      }
    }
  }

  var level: Level
  var message: String
  var hint: String?

  private struct Object: Encodable {
    let time, level, message: String
    let hint: String?
    let pid: Int32
  }

  /// Its text, newlines included. Of JSON one line; the others have the lines of the message.
  func text(_ format: LogFormat, at time: Date = Date()) -> String {
    switch format {
    case .json:
      let object = Object(
        time: time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)),
        level: level.name, message: message, hint: hint, pid: getpid())
      return Console.line(json: object) + "\n"
    case .journal:
      return lines.split(separator: "\n").map { "<\(level.rawValue)>\($0)\n" }.joined()
    case .text, .auto: return lines + "\n"
    }
  }

  private var lines: String {
    let mark = level == .info ? "" : "\(level.name): "
    return Console.printable("multifd: \(mark)\(message)" + (hint.map { "\nhint: \($0)" } ?? ""))
  }
}

/// A command that runs for long, and whose words may be for a machine.
protocol LoggingCommand: ParsableCommand {
  var figures: FiguresArguments { get }
}
