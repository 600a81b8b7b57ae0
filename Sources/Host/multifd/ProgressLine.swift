import ArgumentParser
import Foundation
import Roles
import Synchronization

/// How progress is shown.
enum ProgressMode: String, ExpressibleByArgument, CaseIterable {
  case auto, plain, json, none
}

/// Progress on stderr: a line that rewrites itself on a terminal, a line a second otherwise.
final class ProgressLine: Sendable {
  private let mode: ProgressMode
  private let lastSecond = Mutex(-1)
  private let drawn = Mutex(false)

  init(_ mode: ProgressMode) {
    self.mode = mode == .auto && isatty(STDERR_FILENO) == 0 ? .none : mode
  }

  func show(_ progress: ReceiveProgress) {
    switch mode {
    case .none: return
    case .auto:
      drawn.withLock { $0 = true }
      Console.write("\r\u{1b}[K\(text(progress))")
    case .plain, .json:
      let second = Int(progress.seconds)
      let isNew = lastSecond.withLock { last in
        defer { last = second }
        return last != second
      }
      guard isNew else { return }
      if mode == .plain { return Console.say(text(progress)) }
      guard let data = try? JSONEncoder().encode(progress) else { return }
      Console.say(String(decoding: data, as: UTF8.self))
    }
  }

  /// Leaves the terminal clean for what follows.
  func finish() {
    guard drawn.withLock({ $0 }) else { return }
    Console.write("\r\u{1b}[K")
  }

  private func text(_ progress: ReceiveProgress) -> String {
    let passes = progress.remaining == 0 && progress.total > 0 ? ", dirty pages" : ""
    return "\(Console.bytes(progress.transferred)) transferred, "
      + "\(Console.bytes(progress.remaining)) of \(Console.bytes(progress.total)) remaining\(passes), "
      + "\(Console.bytes(UInt64(progress.rate)))/s, "
      + "\(progress.normal) normal, \(progress.duplicate) duplicate"
  }
}
