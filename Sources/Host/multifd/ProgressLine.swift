import ArgumentParser
import Foundation
import Roles
import Synchronization

/// How progress is shown.
enum ProgressMode: String, ExpressibleByArgument, CaseIterable {
  case auto, plain, json, none
}

/// What a progress line shows.
protocol Progress: Encodable {
  /// Seconds since the start.
  var seconds: Double { get }
  /// For people.
  var text: String { get }
}

/// Progress on stderr: a line that rewrites itself on a terminal, a line a second otherwise.
final class ProgressLine: Sendable {
  private let mode: ProgressMode
  private let lastSecond = Mutex(-1)
  private let drawn = Mutex(false)

  init(_ mode: ProgressMode) {
    self.mode = mode == .auto && isatty(STDERR_FILENO) == 0 ? .none : mode
  }

  func show(_ progress: some Progress) {
    switch mode {
    case .none: return
    case .auto:
      drawn.withLock { $0 = true }
      Console.write("\r\u{1b}[K\(progress.text)")
    case .plain, .json:
      let second = Int(progress.seconds)
      let isNew = lastSecond.withLock { last in
        defer { last = second }
        return last != second
      }
      guard isNew else { return }
      if mode == .plain { return Console.say(progress.text) }
      guard let data = try? JSONEncoder().encode(progress) else { return }
      Console.say(String(decoding: data, as: UTF8.self))
    }
  }

  /// Leaves the terminal clean for what follows.
  func finish() {
    guard drawn.withLock({ $0 }) else { return }
    Console.write("\r\u{1b}[K")
  }
}

extension ReceiveProgress: Progress {
  var text: String {
    let passes = remaining == 0 && total > 0 ? ", dirty pages" : ""
    return "\(Console.bytes(transferred)) transferred, "
      + "\(Console.bytes(remaining)) of \(Console.bytes(total)) remaining\(passes), "
      + "\(Console.bytes(UInt64(rate)))/s, "
      + "\(normal) normal, \(duplicate) duplicate"
  }
}

extension RelayProgress: Progress {
  var text: String {
    "\(Console.bytes(received)) received, \(Console.bytes(transferred)) transferred, "
      + "\(Console.bytes(UInt64(rate)))/s, \(normal) normal, \(duplicate) duplicate"
  }
}
