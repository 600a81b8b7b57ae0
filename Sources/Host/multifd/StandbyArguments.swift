import ArgumentParser
import Foundation
import Observe
import Roles
import Store
import Synchronization

/// `multifd receive --colo` and what belongs to it.
struct StandbyArguments: ParsableArguments {
  /// What happens when the primary is lost.
  enum OnLoss: String, ExpressibleByArgument, CaseIterable {
    case hold, failover
  }

  @Flag(help: "Be the secondary of a COLO primary: take its checkpoints until it is lost.")
  var colo = false

  @Option(help: "Where pages of checkpoints in flight are kept: sparse (only those) or mirror.")
  var cache: Manifest.Cache = .sparse

  @Option(help: "Seconds without a checkpoint after which the primary is lost; default: never.")
  var checkpointTimeout: Double?

  @Option(help: "When the primary is lost: hold the guest, or failover into the QEMU after --.")
  var onLoss: OnLoss = .hold

  @Flag(help: "Start that QEMU at once and let it wait.")
  var spare = false

  @OptionGroup var failover: FailoverArguments

  func validate() throws {
    guard colo || (onLoss == .hold && !spare && checkpointTimeout == nil) else {
      throw ValidationError("--on-loss, --spare and --checkpoint-timeout belong to --colo")
    }
    if onLoss == .failover || spare, failover.qemu.isEmpty {
      throw ValidationError("the QEMU command is missing: … -- qemu-system-x86_64 ARGS")
    }
    if let checkpointTimeout {
      try FailoverArguments.check(checkpointTimeout, "--checkpoint-timeout")
    }
  }

  /// For the receiver; nil for a plain reception.
  var options: StandbyOptions? {
    guard colo else { return nil }
    var options = StandbyOptions()
    options.cache = cache
    options.checkpointTimeout = checkpointTimeout
    return options
  }

  /// Receives checkpoints until the primary is lost, then does what --on-loss says.
  func run(
    _ receiver: Receiver, store: String, json: Bool, _ timeout: Double, _ line: ProgressLine
  ) throws {
    let failover = Failover(
      failover.options(store: store, timeout: timeout), log: Console.note)
    // Whichever of the two is going on: one that is over, or has not begun, ends at once.
    Signals.watch {
      receiver.cancel($0, $1)
      failover.cancel($0, $1)
    }
    var waiting: SpareQEMU?
    let outcome: StandbyOutcome
    do {
      outcome = try receiver.runStandby(
        onListening: { Console.note("listening on \($0)") }, onProgress: line.show,
        onReady: {
          line.finish()
          Console.note("ready: the guest can be continued from \(store)")
          guard spare else { return }
          do {
            let qemu = try failover.makeSpare()
            waiting = qemu
            Console.note("spare QEMU waits, pid \(qemu.pid)")
          } catch { Console.note("no spare QEMU: \(error)") }
        })
    } catch {
      line.finish()
      waiting?.kill()
      throw error
    }
    if json { Console.json(outcome.report) } else { print(outcome.report) }
    // A primary that sends what cannot be, or a full disk here, is no lost primary: it runs on.
    guard onLoss == .failover, outcome.cause.peerIsGone else {
      waiting?.kill()
      var cause = outcome.cause
      cause.hint = "checkpoint \(outcome.report.checkpoint) is safe in \(store)"
      throw cause
    }
    Console.note("the primary is lost: \(outcome.cause)")
    let summary = try failover.run(spare: waiting)
    if json { Console.json(summary) } else { print(summary) }
    throw ArgumentParser.ExitCode(Roles.ExitCode.failedOver.rawValue)
  }
}

extension Manifest.Cache: ExpressibleByArgument {}

extension StandbyReport: CustomStringConvertible {
  /// The report for people.
  public var description: String {
    func times(_ name: String, _ times: Timings.Summary?) -> String {
      guard let times else { return "  \(name)  -" }
      return String(
        format: "  %@  mean %.2f, p50 %.2f, p99 %.2f, max %.2f ms", name, times.mean, times.p50,
        times.p99, times.max)
    }
    return """
      last checkpoint \(checkpoint)
      \(times("pause   ", pause))
      \(times("transfer", transfer))
      \(times("commit  ", commit))
        pages     \(pages), cache at most \(Console.bytes(UInt64(cachePeak)))
      """
  }
}
