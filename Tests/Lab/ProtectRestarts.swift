import ArgumentParser
import Foundation
import Observe
import TestSupport

/// One guest whose standby is lost again and again, and comes back.
struct ProtectRestarts: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "protect-restarts",
    abstract: "Interrupts the standby of one guest again and again; a row each time.",
    discussion: """
      A stock QEMU 11.1 whose guest writes to its disks and sends packets, `multifd protect --retry`, and a standby that \
      is interrupted at a random moment: killed, stopped, or only its disks' server. The guest must not be silent for \
      longer than 3 s, that is: packets must leave and writes be done. The standby is started again with --adopt, and \
      the guest must be protected again by itself. At last the primary is killed, and the guest goes on from the last \
      checkpoint, its disks and packets as it remembers them. Exit code 1 when it is otherwise.
      """)

  @Option(help: "Interruptions.")
  var restarts = 20

  @Option(help: "Of what kind, in turns: kill, stop, server.")
  var how = List(WholeGuest.Interruption.allCases)

  @Option(help: "`--checkpoint` of multifd protect.")
  var checkpoint = "100ms"

  @Option(help: "Disks of the guest.")
  var disks = 2

  @Option(help: "Microseconds between the writes of each of the guest's four writers.")
  var pace = 2000

  @Option(help: "Milliseconds that each request to the standby's disks takes besides.")
  var slow = 0

  @Option(help: "All connections go by TLS: by x509 or by psk.")
  var tls: Credentials.Kind?

  @Option(help: "Seed of the random moments; default: another one each time.")
  var seed: UInt64?

  func validate() throws {
    guard (1...10_000).contains(restarts) else { throw ValidationError("--restarts: 1 to 10000.") }
    guard (1...8).contains(disks) else { throw ValidationError("--disks: 1 to 8.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard QEMUVersion.v111.isAvailableElseAnnounce("protect-restarts") else { throw ExitCode(1) }
    if let reason = Lab.diskGuestUnavailable { throw LabError(reason.description) }
    let seed = seed ?? UInt64.random(in: 1...999_999)
    note("seed \(seed)")
    var random = SeededGenerator(seed: seed)
    var setup = WholeGuest.Setup()
    (setup.way, setup.checkpoint) = (.protect, checkpoint)
    (setup.guest.disks, setup.guest.pace) = (disks, pace)
    setup.distance.disks = .milliseconds(slow) / 2
    setup.tls = tls
    let guest = try WholeGuest(setup)
    defer { guest.end() }
    say(Self.line(["", "how", "silence ms", "unprotected s", "disks gone on with", "copied anew"]))
    var all: [WholeGuest.Return] = []
    for number in 1...restarts {
      let (first, losses) = (guest.checkpoint, guest.losses)
      try guest.waitCheckpoint(first + 3)
      Thread.sleep(forTimeInterval: .random(in: 0...0.5, using: &random))
      guard guest.losses == losses else {
        throw Inconsistency("a standby that was there was given up: \(guest.complaints)")
      }
      let how = how.elements[(number - 1) % how.elements.count]
      let result = try guest.interrupt(how)
      all.append(result)
      say(
        Self.line([
          "\(number)", how.rawValue, String(format: "%.0f", result.silence.inSeconds * 1000),
          String(format: "%.1f", result.unprotected.inSeconds), "\(result.resumed)",
          "\(result.anew)",
        ]))
      guard result.silence <= WholeGuest.patience else {
        throw Inconsistency("the guest was silent for \(seconds(result.silence))")
      }
    }
    try guest.waitCheckpoint(guest.checkpoint + 3)
    let outcome = try guest.lose(.primary, &random)
    let longest = all.map(\.silence).max() ?? .zero
    say(
      "\(all.count) interruptions, silent for \(seconds(longest)) at the most; then from checkpoint "
        + "\(outcome.checkpoint): \(outcome.check.sectors) sectors, \(outcome.check.bad) bad; seed \(seed)"
    )
  }

  private static func line(_ columns: [String]) -> String {
    zip(columns, [5, 8, 12, 15, 20, 12]).map { column($0, $1) }.joined()
  }
}

extension WholeGuest.Interruption: ExpressibleByArgument {}
extension Credentials.Kind: ExpressibleByArgument {}
