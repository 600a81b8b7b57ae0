import Glibc
import System

/// Tries a library in a child process before it is opened here.
///
/// The child is the program `multifd-probe`: it opens the library, calls the entry point and reads
/// the table (its `main.c` tells why it is not a fork). What the library does there (crash, hang,
/// exit, print, leave the process another than it was) is a reason to refuse it.
public struct PluginProbe: Sendable {
  /// How long a library may take to open; at least a millisecond.
  public var timeLimit: Duration
  /// Where `multifd-probe` is; nil: in the folder of this program, or else in its
  /// `../libexec/multifd`.
  public var program: String?

  /// A probe with a time limit, 10 seconds unless told otherwise: a library on a cold network file
  /// system is slow, not bad.
  public init(timeLimit: Duration = .seconds(10), program: String? = nil) {
    self.timeLimit = timeLimit
    self.program = program
    // Found out while it is true: an upgrade may replace this program's file under it.
    _ = Self.usualPlaces
  }

  /// What is kept of what it prints.
  private static let longest = 4096

  /// How long the program may take to end what a library has started.
  private static let clearing = Duration.seconds(3)

  /// Opens the program, if it is trusted as a library would have to be.
  ///
  /// The first one that is there counts; when it cannot be trusted there is no falling back to
  /// another.
  ///
  /// - Parameter path: the library that is to be tried.
  func program(for path: String, privileged: Bool) throws(PluginError) -> Int32 {
    let places = program.map { [$0] } ?? Self.usualPlaces
    guard let place = places.first(where: { resolve($0) != nil }) else {
      throw PluginError(
        .internalFault, what: path,
        why: "cannot be tried in a child process: there is no \(places.joined(separator: ", no "))",
        hint: "multifd-probe comes with the host: what has not been tried with it is not opened")
    }
    return try PluginTrust.program(place, privileged: privileged)
  }

  /// A build's folder, an installation's.
  private static let usualPlaces: [String] = {
    let executable = resolve("/proc/self/exe") ?? "/"
    let folder = executable[..<(executable.lastIndex(of: "/") ?? executable.startIndex)]
    return ["\(folder)/multifd-probe", "\(folder)/../libexec/multifd/multifd-probe"]
  }()

  /// Runs the child for a library; `path` is what an error is about. Throws unless the
  /// library opened, answered and could be read, all without a word.
  ///
  /// - Parameter program: as ``program(for:privileged:)`` has opened it.
  /// - Returns: its table; nil where it has handed out none.
  func run(
    _ program: Int32, _ library: PluginTrust.Library, as path: String
  ) throws(PluginError) -> TableCopy? {
    let account: OutputPipe, printed: OutputPipe, child: Child
    do throws(SystemError) {
      account = try OutputPipe(.kept(ProbeAccount.longest))
      printed = try OutputPipe(.kept(Self.longest))
      child = try Child(
        ["multifd-probe", library.name], program: .opened(program),
        output: .descriptor(printed.input), errors: .descriptor(printed.input),
        passing: [account.input, library.folder], in: .ownGroup)
    } catch {
      throw PluginError(
        .internalFault, what: path, why: "no child process to try it in: \(error.reason)")
    }
    let isDone = child.follow(account, printed, within: timeLimit)
    if !isDone {
      // It ends what the library has started, and itself.
      child.send(SIGTERM)
      _ = child.follow(account, printed, within: Self.clearing)
    }
    child.kill()
    let told = ProbeAccount(account.bytes)
    try judge(path, isDone: isDone, told, printed.bytes)
    return told.table
  }

  private func judge(
    _ path: String, isDone: Bool, _ account: ProbeAccount, _ printed: [UInt8]
  ) throws(PluginError) {
    let stage = account.stage
    let hint = "it was tried in a child process and is not opened here"
    func crashed(_ why: String) -> PluginError {
      PluginError(.probeCrashed, what: path, why: why, hint: hint)
    }
    let words = printed.split(separator: UInt8(ascii: "\n")).first.map {
      String(decoding: $0, as: UTF8.self)
    }
    // It has not come to the library: that one is not to blame. A slow start is not told from a
    // slow library.
    if stage == .silent, isDone {
      throw PluginError(
        .internalFault, what: path,
        why: "cannot be tried in a child process: multifd-probe does not answer"
          + (words.map { ", and says \(quoted($0))" } ?? ""),
        hint: "it must be the one that came with this host")
    }
    guard isDone else {
      throw crashed("was not done \(stage.text) within its time limit of \(timeLimit)")
    }
    if let breach = account.breach { throw crashed(oneLine(breach)) }
    guard let end = account.end, !account.isSpoilt else {
      throw crashed("wrote into the account of multifd-probe \(stage.text)")
    }
    if let trouble = account.trouble { throw .refused(path, Self.linkerText(trouble)) }
    if let signal = end.signal {
      throw crashed(
        "died of signal \(signal) (\(String(cString: strsignal(signal)))) \(stage.text)")
    }
    guard stage == .done else {
      let code = end.code.map { " with exit code \($0)" } ?? ""
      throw crashed("ended the process\(code) \(stage.text)")
    }
    if account.leavesProcesses { throw crashed("opening it starts a process that lives on") }
    guard printed.isEmpty else {
      throw crashed("printed \(quoted(words ?? "")) \(ProbeAccount.Stage.opening.text)")
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
