import CHarness
import Glibc

/// One test, seen from inside its process.
public enum ChildProcess {
  /// The first argument of a child.
  static let flag = "--multifd-harness-child"
  /// The exit code of a child that failed for a reason of its own.
  static let faultCode: Int32 = 70

  /// Runs a test and ends the process, when that is what this process was started for. An executable that is
  /// named in `HarnessSettings.executable` calls this before it looks at its arguments.
  public static func runIfAsked() {
    let arguments = CommandLine.arguments
    guard arguments.count > 1, arguments[1] == flag else { return }
    charness_begin_child()
    guard let order = ChildOrder(arguments.dropFirst(2)), Catalogue.test(order.test) != nil else {
      complain("an order that makes no sense")
    }
    charness_catch_faults(3)
    let reporter = Reporter(test: order.test) { line in
      let bytes = Array((line.text + "\n").utf8)
      bytes.withUnsafeBytes { _ = writeAll(3, $0) }
    }
    if charness_sanitized() == 0 { charness_limit_data(6 << 30) }
    Rules.run(order, reporter)
    fflush(nil)
    reporter.say(.done)
    // exit() would run what the backend has registered with atexit().
    _exit(0)
  }

  private static func complain(_ text: String) -> Never {
    Array((text + "\n").utf8).withUnsafeBytes { _ = writeAll(2, $0) }
    _exit(faultCode)
  }
}

/// A test in the harness's own process.
enum InProcess {
  static func run(_ test: TestDescription, _ settings: HarnessSettings) -> ChildAccount {
    let order = ChildOrder(test, settings)
    // Filled by the reporter, which locks: a test may have threads.
    let account = Box(ChildAccount(test))
    let start = charness_now()
    Rules.run(order, Reporter(test: test.id) { account.value.take($0) })
    account.value.isComplete = true
    account.value.seconds = Double(charness_now() &- start) / 1e9
    return account.value
  }

  private final class Box: @unchecked Sendable {
    var value: ChildAccount
    init(_ value: ChildAccount) { self.value = value }
  }
}

/// What a child is told, as arguments `key=value`.
struct ChildOrder: Sendable {
  var test: String
  var path: String
  var seed: UInt64
  var isQuick: Bool
  var fuzzTime: Double
  var options: [String: String] = [:]
  var pluginFolders: [String] = []
  var golden: String?
  var records: Bool
  var replay: String?
  var executable: String

  init(_ test: TestDescription, _ settings: HarnessSettings) {
    self.test = test.id
    path = settings.path
    seed = settings.seed
    isQuick = settings.isQuick
    fuzzTime = settings.fuzzTime
    options = settings.options
    pluginFolders = settings.pluginFolders
    golden = settings.golden
    records = settings.records
    replay = settings.replay
    executable = settings.executable
  }

  /// Everything behind the program's name.
  var arguments: [String] {
    var words = [
      ChildProcess.flag, "test=\(test)", "path=\(path)", "seed=\(seed)", "fuzz=\(fuzzTime)",
      "executable=\(executable)",
    ]
    if isQuick { words.append("quick=1") }
    if records { words.append("record=1") }
    if let golden { words.append("golden=\(golden)") }
    if let replay { words.append("replay=\(replay)") }
    words += pluginFolders.map { "folder=\($0)" }
    words += options.sorted { $0.key < $1.key }.map { "option=\($0.key)=\($0.value)" }
    return words
  }

  init?(_ arguments: some Collection<String>) {
    var values: [String: String] = [:]
    for argument in arguments {
      guard let (key, value) = Self.split(argument) else { return nil }
      switch key {
      case "folder": pluginFolders.append(value)
      case "option":
        guard let (name, setting) = Self.split(value) else { return nil }
        options[name] = setting
      default: values[key] = value
      }
    }
    guard let test = values["test"], let path = values["path"],
      let seed = values["seed"].flatMap({ UInt64($0) }),
      let fuzzTime = values["fuzz"].flatMap({ Double($0) })
    else { return nil }
    self.test = test
    self.path = path
    self.seed = seed
    self.fuzzTime = fuzzTime
    isQuick = values["quick"] != nil
    records = values["record"] != nil
    golden = values["golden"]
    replay = values["replay"]
    executable = values["executable"] ?? "/proc/self/exe"
  }

  private static func split(_ text: String) -> (String, String)? {
    guard let equals = text.firstIndex(of: "=") else { return nil }
    return (String(text[..<equals]), String(text[text.index(after: equals)...]))
  }
}
