import CLinux
import Glibc

/// Tries a library in a child process before it is opened here.
///
/// The child is this executable, started again with nothing but the library's path; it opens the
/// library, calls the entry point and reads the table (`probe.c` tells why it is not a fork). What the
/// library does there (crash, hang, exit, print) is a reason to refuse it.
public struct PluginProbe: Sendable {
  /// How long a library may take to open; at least a millisecond.
  public var timeLimit: Duration

  /// A probe with a time limit, 10 seconds unless told otherwise: a library on a cold network file
  /// system is slow, not bad.
  public init(timeLimit: Duration = .seconds(10)) {
    self.timeLimit = timeLimit
  }

  /// How far a child came. The raw values are CLINUX_PROBE_ALIVE to CLINUX_PROBE_DONE: what it was
  /// doing after it had said so.
  private enum Stage: Int32, Comparable {
    case silent = 0
    case opening
    case entering
    case reading
    case done

    var text: String {
      switch self {
      case .silent: "before it was opened"
      case .opening: "while it was opened"
      case .entering: "inside multifd_plugin_entry()"
      case .reading: "while its table was read"
      case .done: "after it was opened"
      }
    }

    static func < (a: Stage, b: Stage) -> Bool { a.rawValue < b.rawValue }
  }

  /// Runs the child for a library; `path` is what an error is about. Throws unless the
  /// library opened, answered and could be read, all without a word.
  func run(_ library: PluginTrust.Library, as path: String) throws(PluginError) {
    var child = clinux_probe()
    let error = clinux_probe_start(library.folder, library.name, &child)
    guard error == 0 else {
      throw PluginError(
        .internalFault, what: path, why: "no child process to try it in: \(errorText(error))")
    }
    var account: [UInt8] = [], printed: [UInt8] = []
    let ended = wait(for: child, account: &account, printed: &printed)
    let status = clinux_probe_end(&child)
    try judge(path, ended: ended, status: status, account: account, printed: printed)
  }

  /// Collects what the child says until it ends; false when the time is up.
  private func wait(
    for child: clinux_probe, account: inout [UInt8], printed: inout [UInt8]
  ) -> Bool {
    let deadline = ContinuousClock.now + timeLimit
    while true {
      let left = ContinuousClock.now.duration(to: deadline)
      guard left > .zero else {
        drain(child.report, into: &account)
        drain(child.output, into: &printed)
        return false
      }
      let seconds = min(left.components.seconds, 3600)
      let milliseconds =
        Int32(seconds) * 1000
        + Int32(left.components.attoseconds / 1_000_000_000_000_000) + 1
      // Both pipes may be closed by a library that goes on running: what counts is that the process
      // has ended. poll() passes over negative descriptors; without a pidfd the end of the account
      // stands for it, and a child that closes its account early is stopped at its end.
      var descriptors = [
        pollfd(fd: child.pidfd, events: Int16(POLLIN), revents: 0),
        pollfd(fd: child.report, events: Int16(POLLIN), revents: 0),
        pollfd(fd: child.output, events: Int16(POLLIN), revents: 0),
      ]
      // At the end of a pipe poll() returns at once, for ever: then only the process is waited for.
      if account.last == Self.end { descriptors[1].fd = -1 }
      if printed.last == Self.end { descriptors[2].fd = -1 }
      _ = poll(&descriptors, 3, milliseconds)
      drain(child.report, into: &account)
      drain(child.output, into: &printed)
      if descriptors[0].revents != 0 { return true }
      if child.pidfd < 0, account.last == Self.end { return true }
    }
  }

  /// Stands at the end of what came through a pipe once all its writers are gone; never part of UTF-8.
  private static let end: UInt8 = 0xff

  /// Reads what is there, keeping the first 4 KiB.
  private func drain(_ descriptor: Int32, into bytes: inout [UInt8]) {
    guard bytes.last != Self.end else { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4096) { buffer in
      for _ in 0..<64 {
        // The buffer is alive for the whole closure and read() is told its size.
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count == 0 { bytes.append(Self.end) }
        guard count > 0 else { return }
        bytes += buffer[..<min(count, max(0, 4096 - bytes.count))].lazy.map { min($0, 0xfe) }
      }
    }
  }

  private func judge(
    _ path: String, ended: Bool, status: Int32, account: [UInt8], printed: [UInt8]
  ) throws(PluginError) {
    var stage = Stage.silent
    for byte in account.prefix(while: { Int32($0) != CLINUX_PROBE_TROUBLE }) {
      stage = max(stage, Stage(rawValue: Int32(byte)) ?? stage)
    }
    if let at = account.firstIndex(of: UInt8(CLINUX_PROBE_TROUBLE)) {
      let text = account[(at + 1)...].filter { $0 != Self.end }
      throw .refused(path, Self.linkerText(String(decoding: text, as: UTF8.self)))
    }
    let hint = "it was tried in a child process and is not opened here"
    func crashed(_ why: String) -> PluginError {
      PluginError(.probeCrashed, what: path, why: why, hint: hint)
    }
    guard ended else {
      throw crashed("was not done \(stage.text) within its time limit of \(timeLimit)")
    }
    let signal = status == -1 ? 0 : status & 0x7f
    if signal != 0 {
      throw crashed(
        "died of signal \(signal) (\(String(cString: strsignal(signal)))) \(stage.text)")
    }
    guard stage > .silent else {
      throw PluginError(
        .internalFault, what: path,
        why: "cannot be tried in a child process: /proc/self/exe, started again, does not answer",
        hint: "the executable itself must link the loader; an interpreter or emulator does not")
    }
    guard stage == .done else {
      let code = status == -1 ? "" : " with exit code \((status >> 8) & 0xff)"
      throw crashed("ended the process\(code) \(stage.text)")
    }
    let text = printed.filter { $0 != Self.end }
    guard text.isEmpty else {
      let line = text.split(separator: UInt8(ascii: "\n")).first.map {
        String(decoding: $0, as: UTF8.self)
      }
      throw crashed("printed \(quoted(line ?? "")) \(Stage.opening.text)")
    }
  }

  /// The dynamic linker's text, without the path that the error names anyway.
  static func linkerText(_ text: String) -> String {
    var text = oneLine(text)
    if let colon = text.range(of: ": "), text[..<colon.lowerBound].hasSuffix(".so") {
      text = String(text[colon.upperBound...])
    }
    return text
  }
}

extension String {
  /// The first place of `part`; the standard library has none without Foundation.
  fileprivate func range(of part: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(part) {
        return start..<index(start, offsetBy: part.count)
      }
      start = index(after: start)
    }
    return nil
  }
}
