import ArgumentParser
import Foundation
import TestSupport

/// Guests that are protected, for an hour, while one thing after the other goes wrong.
struct SoakCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "soak",
    abstract: "Protects guests while all kinds of faults come one after the other; a row for each.",
    discussion: """
      A stock QEMU 11.1 whose guest writes to its disks and sends packets, `multifd protect`, and a standby in another \
      network namespace, at the end of a cable that is slow, loses packets or brings them out of order when it is told. \
      Connections are cut, processes of both sides stopped, killed and ended, memory, descriptors and room taken away, and \
      backends fail in the middle of packets. After each fault the guest must be protected again: where it went on, with \
      disks as its memory says, each packet once and in order, not silent for longer than promised, nobody else running \
      it, and exit codes as documented. After three to ten of them it loses its primary, or something else, and goes on \
      from the last checkpoint, which is judged as `protect` does; nothing may be left over of its processes and sockets. \
      Guest N meets the same faults for the same seed. Exit code 1 when anything is not as it should be. Takes root.
      """)

  @Option(help: "Seconds; the guest that is at it then is played to its end.")
  var time = 3600

  @Option(help: "Seed of the faults and their moments; default: another one each time.")
  var seed: UInt64?

  @Option(help: "The number of the first guest: for one that was seen before.")
  var first = 1

  @Option(help: "At most so many guests.")
  var guests: Int?

  @Flag(help: "Only say what would happen to them.")
  var plan = false

  @Option(
    help: """
      Records what primaries send, and of a guest that is inconsistent copies that, the store and the images into a \
      folder in this one.
      """)
  var keep: String?

  func validate() throws {
    guard time > 0, first > 0, guests ?? 1 > 0 else {
      throw ValidationError("--time, --first and --guests: above 0.")
    }
    guard !plan || guests != nil else { throw ValidationError("--plan: of how many --guests?") }
  }

  /// In the environment of all that is started: what is left over is found by it.
  private static let mark = "MULTIFD_LAB_SOAK"

  func run() throws {
    let seed = seed ?? UInt64.random(in: 1...999_999)
    guard !plan else { return say(plans(seed)) }
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard QEMUVersion.v111.isAvailableElseAnnounce("soak") else { throw ExitCode(1) }
    if let reason = Lab.diskGuestUnavailable { throw LabError(reason.description) }
    if let reason = MisbehavingBackend.unavailable { throw LabError(reason.description) }
    // Begins anew as a process of another namespace.
    try Cable.move(marking: Self.mark)
    note("seed \(seed)")
    let cable = try Cable(seed: seed)
    var run = SoakRun(seed: seed, cable: cable, Remains(marked: Self.mark, cable), keep: keep)
    say(SoakTable.head)
    let end = ContinuousClock.now + .seconds(time)
    var number = first
    while ContinuousClock.now < end, number - first < guests ?? .max {
      run.play(number)
      number += 1
    }
    say(run.table.sum + "\nseed \(seed)")
    if run.table.findings > 0 { throw ExitCode(1) }
  }

  private func plans(_ seed: UInt64) -> String {
    (first..<first + (guests ?? 1)).map { number in
      let plan = FaultPlan(seed: seed, guest: number, hasRoom: true)
      return "guest \(number): \(plan)\n"
        + (plan.steps.map { "  \($0)" } + ["  lost: \(plan.loss)"]).joined(separator: "\n")
    }.joined(separator: "\n")
  }
}
