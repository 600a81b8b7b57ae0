import Foundation
import TestSupport

/// The rows of `soak`, and what they come to.
struct SoakTable {
  /// What was not as it should be.
  private(set) var findings = 0
  private var counts: [String: (rounds: Int, givenUp: Int, silence: Duration)] = [:]
  private var failures: [String] = []
  private var rounds = 0
  private var guest = 0
  private var guests = 0
  private let started = ContinuousClock.now

  private static let widths = [6, 6, 6, 58, 56, 6]

  /// What the columns are.
  static let head = line(["round", "guest", "at s", "fault", "what happened", "ckpt", "verdict"])

  /// Rounds for each kind of fault, and the findings again.
  var sum: String {
    let kinds = counts.sorted { $0.key < $1.key }.map { kind, count in
      "  \(column(kind, 32))\(column("\(count.rounds)", 8))"
        + "\(column("given up \(count.givenUp)", 14))silent for \(seconds(count.silence)) at the most"
    }
    return
      (["\(rounds) rounds with \(guests) guests in \(seconds(elapsed)), \(findings) findings"]
      + kinds + failures).joined(separator: "\n")
  }

  private var elapsed: Duration { started.duration(to: .now) }

  mutating func begin(_ number: Int, _ plan: FaultPlan) {
    (guest, guests) = (number, guests + 1)
    note("guest \(number): \(plan)")
  }

  /// A fault that it has survived.
  mutating func add(
    _ step: FaultPlan.Step, _ survival: WholeGuest.Survival, _ checkpoint: Int
  ) {
    let fault = step.fault
    var words: [String] = []
    if let code = survival.protectsCode { words.append("protect \(code), another one") }
    if let code = survival.standbysCode {
      words.append(
        "standby \(code), " + (survival.sectors.map { "\($0) sectors good, anew" } ?? "adopted"))
    }
    if let code = survival.starvedCode { words.append("starved \(code)") }
    if words.isEmpty { words.append("protected") }
    words.append("silent \(Int(survival.silence.inSeconds * 1000)) ms")
    count(fault.kind, survival.silence, givenUp: survival.standbysCode != nil)
    let wet = step.weather == Cable.Weather() ? "" : ", in \(step.weather)"
    row(fault.description + wet, words.joined(separator: ", "), "\(checkpoint)", "ok")
  }

  /// What has ended it.
  mutating func add(
    _ loss: WholeGuest.Loss, _ outcome: WholeGuest.Outcome
  ) {
    let offline = outcome.offline.reduce(0) { $0 + $1.sectors }
    count("lost: \(loss)", outcome.silence, givenUp: false)
    row(
      "lost: \(loss)",
      "\(offline) and \(outcome.check.sectors) sectors good, \(outcome.missing) packets lost",
      "\(outcome.checkpoint)", "ok")
  }

  /// Something that is not as it should be.
  mutating func fail(_ fault: String, _ error: any Error) {
    findings += 1
    let kind = error is Inconsistency ? "INCONSISTENT" : "FAIL"
    let text = oneLine("\(error)")
    failures.append("  guest \(guest), \(fault): \(kind): \(text)")
    count(fault, .zero, givenUp: false)
    row(fault, "", "", "\(kind): \(text)")
  }

  private mutating func count(_ kind: String, _ silence: Duration, givenUp: Bool) {
    var count = counts[kind] ?? (0, 0, .zero)
    count.rounds += 1
    if givenUp { count.givenUp += 1 }
    count.silence = max(count.silence, silence)
    counts[kind] = count
  }

  private mutating func row(
    _ fault: String, _ what: String, _ checkpoint: String, _ verdict: String
  ) {
    rounds += 1
    let time = String(format: "%.0f", elapsed.inSeconds)
    say(Self.line(["\(rounds)", "\(guest)", time, fault, what, checkpoint, verdict]))
  }

  private static func line(_ columns: [String]) -> String { tableLine(columns, widths) }
}
