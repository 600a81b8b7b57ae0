import ArgumentParser
import Foundation
import Migration
import Roles

/// What `failover` and `receive --on-loss failover` have in common.
struct FailoverArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A shell command that makes sure that the primary is dead; it must exit 0.",
      valueName: "command"))
  var fence: String?

  @Option(help: "Seconds that the fence may take; then it is killed, and nothing is started.")
  var fenceTimeout: Double = 60

  @Option(
    help: ArgumentHelp(
      "Where QEMU's stdout and stderr go; default: qemu.log in the store.", valueName: "file"),
    completion: .file())
  var qemuLog: String?

  @Argument(
    parsing: .postTerminator,
    help: ArgumentHelp("QEMU and the primary's own arguments, after --.", valueName: "qemu"))
  var qemu: [String] = []

  func validate() throws {
    try TimeOut.check(fenceTimeout, "--fence-timeout")
    guard !qemu.isEmpty else { return }
    do { try QEMUCommandLine.check(qemu) } catch { throw ValidationError(error.why) }
  }

  /// The options for a store.
  func options(store: String, timeout: Double) -> FailoverOptions {
    var options = FailoverOptions(store: store, command: qemu)
    options.fence = fence
    options.fenceTimeout = fenceTimeout
    options.timeout = timeout
    options.qemuLog = qemuLog
    return options
  }
}

/// `multifd failover`.
struct FailoverCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "failover",
    abstract: "Continue a guest from a store in a stock QEMU, on the RAM that is already there.",
    usage: "multifd failover --store DIR [--check] [--fence COMMAND] -- qemu-system-x86_64 ARGS…",
    discussion: """
      ARGS are the primary's own: same machine type, same devices. The RAM files become QEMU's memory \
      backend, only the devices' state and ROMs are sent, so the time does not grow with the guest. \
      Exit code 5: the guest runs here now; QEMU stays when this command ends.

      --check plays all of it up to the devices, also beside a standby that is running, and changes nothing: exit \
      code 0 when this command can continue this guest, else the failure's, with what to change.
      """)

  @Option(
    help: ArgumentHelp("The folder that holds the guest.", valueName: "dir"), completion: .directory
  )
  var store: String

  @Option(help: "Seconds that QEMU may take for each step.")
  var timeout: Double = 30

  @Flag(help: "Start it also from a store whose guest may run elsewhere.")
  var force = false

  @Flag(help: "Only see whether it would work; the guest and the primary are left alone.")
  var check = false

  @Flag(help: "Print the summary as JSON.")
  var json = false

  @OptionGroup var failover: FailoverArguments

  func validate() throws {
    guard !failover.qemu.isEmpty else {
      throw ValidationError("the QEMU command is missing: … -- qemu-system-x86_64 ARGS")
    }
    try TimeOut.check(timeout, "--timeout")
  }

  func run() throws {
    var options = failover.options(store: store, timeout: timeout)
    options.force = force
    let failover = Failover(options, log: Console.note)
    Signals.watch(failover.cancel)
    guard !check else { return try rehearse(failover) }
    let summary = try failover.run()
    if json { Console.json(summary) } else { print(summary) }
    throw ExitCode.failedOver
  }

  private func rehearse(_ failover: Failover) throws {
    let rehearsal = try failover.rehearse()
    if json {
      Console.json(rehearsal)
    } else if rehearsal.fits {
      print("failover \(rehearsal)")
    }
    if let failure = rehearsal.failure { throw failure }
  }
}

extension Rehearsal: CustomStringConvertible {
  /// The verdict for people, in one line.
  public var description: String {
    guard fits else { return "would fail: \(why ?? "")" }
    let sent = streamed.isEmpty ? "nothing" : streamed.joined(separator: ", ")
    return "fits (\(at)): maps \(mapped.isEmpty ? "nothing" : mapped.joined(separator: ", ")); "
      + "sends \(sent), \(Console.bytes(UInt64(streamedBytes)))"
  }
}

extension FailoverSummary: CustomStringConvertible {
  /// The summary for people.
  public var description: String {
    let from = checkpoint.map { "checkpoint \($0)" } ?? "where it was stopped"
    let paused = status == "paused" ? "\nit was stopped at its source: `cont` starts it" : ""
    return "guest is \(status) in pid \(pid), from \(from), after \(Console.time(totalTime)) "
      + "(\(Console.time(loadTime)) of it for loading)\(paused)"
  }
}
