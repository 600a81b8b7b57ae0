import ArgumentParser
import Foundation
import Observe
import TestSupport

/// Guests that are protected with their disks and packets, and lose something.
struct ProtectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "protect",
    abstract:
      "Protects guests with their disks and packets, kills, fails over; a row for each kill.",
    discussion: """
      For each row: a stock QEMU 11.1 whose guest writes to its disks and sends packets, `multifd receive --colo --disks`, \
      `multifd protect` (or the lab itself, by QMP), checkpoints, and then a loss at a random moment: of the primary, of the \
      standby, of both, of the disks' connections or of all. The guest goes on from the last checkpoint. Its disks must be \
      as its memory says, by its own look and, where it does not go on by itself, by ours before; and what had left the \
      primary must be what it remembers. Exit code 1 when anything is inconsistent, or does not come so far. With \
      --no-epochs or --no-hold that has to happen: it shows that the lab can see it.
      """)

  @Option(help: "Rows.")
  var kills = 10

  @Option(help: "Disks of the guest.")
  var disks = 2

  @Option(help: "Microseconds between the writes of each of the guest's four writers.")
  var pace = 2000

  @Option(help: "Milliseconds between checkpoints; one of them in each row.")
  var delay = List([100, 20, 500])

  @Option(
    help: """
      What is lost, in turns: primary, qemu (it alone), standby, both, disks, link, hang (a standby that does nothing any \
      more), server (its disks' server alone), full (its file system; takes root). The last three go with --way protect. \
      Default: all there are.
      """)
  var loss: List<WholeGuest.Loss>?

  @Option(
    help: """
      What happens before, one of them in each row: none, takeover and restart (`multifd protect` is killed, in part or \
      whole), adopt and anew (another standby, with the images of the first or without). Default: all there are; with \
      --way qmp: none.
      """)
  var before: List<WholeGuest.Prelude>?

  @Option(
    help: "What the standby does at the loss of a primary, in turns: hold, failover, spare.")
  var onLoss = List(Protection.OnLoss.allCases)

  @Option(help: "Who begins the protection: protect, or qmp (by hand: no packet is held).")
  var way = WholeGuest.Way.protect

  @Option(help: "Milliseconds that each request to the standby's disks takes besides.")
  var slow = 0

  @Flag(help: "The disks are served by a stock QEMU, which knows of no checkpoints; --way qmp.")
  var noEpochs = false

  @Flag(help: "No packet waits for its checkpoint.")
  var noHold = false

  @Flag(help: "All connections go by TLS, by certificates or by keys; --way protect.")
  var tls = false

  @Option(help: "Seed of the random moments; default: another one each time.")
  var seed: UInt64?

  @Option(
    help: """
      Records what primaries send, and of a row that is inconsistent copies that, the store and the images into a folder \
      in this one.
      """)
  var keep: String?

  func validate() throws {
    guard (1...10_000).contains(kills) else { throw ValidationError("--kills: 1 to 10000.") }
    guard !noEpochs || way == .qmp else {
      throw ValidationError(
        "--no-epochs goes with --way qmp: multifd protect wants a standby's disks.")
    }
    guard !tls || way == .protect else {
      throw ValidationError("--tls goes with --way protect.")
    }
    guard (1...8).contains(disks) else { throw ValidationError("--disks: 1 to 8.") }
    for milliseconds in delay.elements where !(5...10_000).contains(milliseconds) {
      throw ValidationError("--delay: 5 to 10000.")
    }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard QEMUVersion.v111.isAvailableElseAnnounce("protect") else { throw ExitCode(1) }
    if let reason = Lab.diskGuestUnavailable { throw LabError(reason.description) }
    guard !tls || WholeGuest.canTLS else { throw ExitCode(1) }
    let seed = seed ?? UInt64.random(in: 1...999_999)
    note("seed \(seed)")
    var random = SeededGenerator(seed: seed)
    var table = ProtectTable()
    say(table.head)
    var losses =
      loss?.elements
      ?? WholeGuest.Loss.allCases.filter {
        way == .protect || ![.hang, .server, .full].contains($0)
      }
    if !SmallFileSystem.isAvailable { losses.removeAll { $0 == .full } }
    guard !losses.isEmpty else { throw ExitCode(1) }
    let preludes = before?.elements ?? (way == .protect ? WholeGuest.Prelude.allCases : [.none])
    var primaries = 0
    for row in 0..<kills {
      let loss = losses[row % losses.count]
      var setup = WholeGuest.Setup()
      (setup.guest.disks, setup.guest.pace) = (disks, pace)
      setup.way = way
      setup.delay = delay.elements.randomElement(using: &random) ?? 100
      setup.records = keep != nil
      setup.distance.disks = .milliseconds(slow) / 2
      setup.room = loss == .full ? WholeGuest.smallRoom : nil
      (setup.hasEpochs, setup.holdsPackets) = (!noEpochs, !noHold)
      setup.tls = tls ? Credentials.Kind.allCases.randomElement(using: &random) : nil
      if loss == .primary {
        setup.onLoss = onLoss.elements[primaries % onLoss.elements.count]
        primaries += 1
      }
      let prelude = preludes.randomElement(using: &random) ?? .none
      say(table.add(prelude, loss, setup, measure(prelude, loss, setup, &random)))
    }
    say(table.sum + ", seed \(seed)")
    if table.failures > 0 { throw ExitCode(1) }
  }

  private func measure(
    _ prelude: WholeGuest.Prelude, _ loss: WholeGuest.Loss, _ setup: WholeGuest.Setup,
    _ random: inout SeededGenerator
  ) -> Result<WholeGuest.Outcome, any Error> {
    Result {
      let guest = try WholeGuest(setup)
      defer { guest.end() }
      do {
        try guest.play(prelude)
        let (first, losses) = (guest.checkpoint, guest.losses)
        try guest.waitCheckpoint(first + max(3, 1500 / setup.delay))
        // Somewhere in the interval, or in the checkpoint that ends it.
        Thread.sleep(
          forTimeInterval: .random(in: 0...Double(setup.delay + 30) / 1000, using: &random))
        guard guest.losses == losses else {
          throw Inconsistency("a standby that was there was given up: \(guest.complaints)")
        }
        let outcome = try guest.lose(loss, &random)
        guard !loss.leavesPrimary || way == .qmp || outcome.silence <= WholeGuest.patience else {
          throw Inconsistency("the guest was silent for \(seconds(outcome.silence))")
        }
        return outcome
      } catch {
        if let keep {
          let path = "\(keep)/\(UInt64(Date().timeIntervalSince1970))"
          try guest.keep(in: path)
          note("kept in \(path)")
        }
        throw error
      }
    }
  }
}

extension WholeGuest.Loss: ExpressibleByArgument {}
extension WholeGuest.Prelude: ExpressibleByArgument {}
extension WholeGuest.Way: ExpressibleByArgument {}
