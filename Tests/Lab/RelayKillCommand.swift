import ArgumentParser
import Foundation
import TestSupport

/// Kills the processes of migrations through two relays, one a round.
struct RelayKillCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill-relay",
    abstract: "Kills source, relays and destination of migrations through relays.",
    discussion: """
      In turns one of the four processes (of a relay the one that works, or the one that watches it) is \
      killed by SIGKILL while a guest moves. The guest must go on, whole, on exactly one side, unless it \
      was in the process that was killed; nobody may wait longer than the time-out, and no process may \
      be left. Exit code 1 when a round failed.
      """)

  @Option(help: "Rounds.")
  var rounds = 50

  @Option(help: "The first number of the random ones.")
  var seed: UInt64 = 1

  @Option(help: "The stock QEMU at both ends.")
  var qemu = QEMUVersion.v111

  func run() throws {
    guard qemu.isAvailableElseAnnounce("kill-relay, QEMU \(qemu)") else { throw ExitCode(1) }
    let saved = try SavedGuests().guest(qemu, qemu.machine(with: qemu))
    var generator = SeededGenerator(seed: seed)
    var ends: [String: Int] = [:]
    var failures = 0
    for round in 0..<rounds {
      let victim = RelayKill.Victim.allCases[round % 4]
      var kill = RelayKill(victim, after: .random(in: 0...1.6, using: &generator), version: qemu)
      kill.worker = Bool.random(using: &generator)
      let name = "\(victim)\(kill.worker ? " (worker)" : "") after \(Int(kill.after * 1000)) ms"
      do {
        let end = try kill.run(saved)
        ends["\(victim): \(end)", default: 0] += 1
        note("[\(round + 1)/\(rounds)] \(name): \(end)")
      } catch {
        failures += 1
        note("[\(round + 1)/\(rounds)] \(name): FAIL: \(error)")
      }
    }
    for (end, count) in ends.sorted(by: { $0.key < $1.key }) { say("\(end)  \(count)") }
    say("\(rounds - failures) ok, \(failures) failed")
    if failures > 0 { throw ExitCode(1) }
  }
}
