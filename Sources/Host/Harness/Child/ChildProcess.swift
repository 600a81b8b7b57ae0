// A test's process, from both sides: a crash, a hang or an exit() of a backend is a result, and
// what one test does to its process no other test meets.
//
// A run starts this executable once more as its zygote (Zygote, zygote.c), which opens no library
// and has one thread; for each test it forks a child. ChildProcess is what a child does, ChildOrder
// what it is told, ReportLine what it tells; RunningChild is the child as the run sees it, and
// ChildAccount what is known of it in the end.

import CHarness
import Glibc

/// One test, seen from inside its process.
public enum ChildProcess {
  /// The first argument of a process that runs one test. The zygote's children are forks and have
  /// none.
  static let flag = "--multifd-harness-child"
  /// The first argument of the process that children are forked from.
  static let zygoteFlag = "--multifd-harness-zygote"

  /// Runs a test and ends the process, when that is what this process was started for. An
  /// executable that is named in `HarnessSettings.executable` calls this before it looks at its
  /// arguments, and before it starts a thread.
  public static func runIfAsked() {
    let arguments = CommandLine.arguments
    guard arguments.count > 1, [flag, zygoteFlag].contains(arguments[1]) else { return }
    guard var order = ChildOrder(arguments.dropFirst(2)) else {
      complain("an order that makes no sense")
    }
    if arguments[1] == zygoteFlag {
      order.take(Zygote.serve(order))
    } else {
      charness_begin_child()
    }
    guard Catalogue.test(order.test) != nil || Errand.bodies[order.test] != nil else {
      complain("an order that makes no sense")
    }
    run(order)
  }

  private static func run(_ order: ChildOrder) -> Never {
    charness_catch_faults(3)
    Elsewhere.enterIfAsked()
    let reporter = Reporter(test: order.test) { line in
      let bytes = Array((line.text + "\n").utf8)
      bytes.withUnsafeBytes { _ = writeAll(3, $0) }
    }
    if charness_sanitized() == 0 { _ = charness_limit_data(6 << 30) }
    Filling.prepare()
    GlobalSymbols.prepare()
    Rules.run(order, reporter)
    fflush(nil)
    reporter.say(.done)
    // exit() would run what the backend has registered with atexit().
    _exit(0)
  }

  private static func complain(_ text: String) -> Never {
    Array((text + "\n").utf8).withUnsafeBytes { _ = writeAll(2, $0) }
    _exit(CHARNESS_FAULT)
  }
}

/// A test in the harness's own process.
enum InProcess {
  static func run(_ test: TestDescription, _ settings: HarnessSettings) -> ChildAccount {
    let order = ChildOrder(test.id, settings)
    // Filled by the reporter, which locks: a test may have threads.
    let account = Box(ChildAccount(test))
    Filling.prepare()
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
