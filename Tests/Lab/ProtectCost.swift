import ArgumentParser
import Foundation
import Observe
import TestSupport

/// What protection costs a guest: the same guest measured without it, and then with it.
struct ProtectCost: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "protect-cost",
    abstract: "Measures what a guest's writes, answers, streams and pauses are under protection.",
    discussion: """
      For each way of protection a stock QEMU 11.1 with the lab's guest, measured alone and then, seconds later, \
      protected by `multifd protect` and a standby; all ways in turn, as often as --rounds says. One thing at a time: \
      the guest rests but for what is measured. Writes are of 4 KiB, with O_DIRECT, each followed by fdatasync(2), and \
      timed by the guest's own clock, which stands still with it. Answers are those of a UDP echo, 50 questions a \
      second. The stream is TCP, from its first byte to its last, slow start included. Pauses are between QEMU's STOP \
      and RESUME, while four writers keep the disks busy (without a disk: while the guest rests). On demand packets ask \
      for checkpoints after 2 ms; else none does. A standby that is away is one behind a relay on loopback that delays \
      all that passes, for half of that time each way.
      """)

  @Option(help: "How often each way is measured.")
  var rounds = 2

  @Option(help: "Writes, each time.")
  var writes = 300

  @Option(help: "Seconds for each of the other measurements, each time.")
  var seconds = 5

  @Option(help: "Milliseconds to the far standby and back.")
  var away = 5

  func validate() throws {
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100.") }
    guard (10...10_000).contains(writes) else { throw ValidationError("--writes: 10 to 10000.") }
    guard (1...60).contains(seconds) else { throw ValidationError("--seconds: 1 to 60.") }
    guard (1...1000).contains(away) else { throw ValidationError("--away: 1 to 1000.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard QEMUVersion.v111.isAvailableElseAnnounce("protect-cost") else { throw ExitCode(1) }
    if let reason = Lab.diskGuestUnavailable { throw LabError(reason.description) }
    let load = Self.load
    let ways = CostWay.all(away: away)
    var costs = [Cost](repeating: Cost(), count: ways.count)
    for round in 1...rounds {
      for (index, way) in ways.enumerated() {
        let start = ContinuousClock.now
        try measure(way, &costs[index])
        note("[\(round)/\(rounds)] \(way.name): \(Self.time(since: start))")
      }
    }
    say(CostTable(ways, costs).text)
    say(
      "\(rounds) rounds, \(ProcessInfo.processInfo.activeProcessorCount) processors, QEMU 11.1, TCG; load \(load) before, "
        + "\(Self.load) after")
  }

  private func measure(_ way: CostWay, _ cost: inout Cost) throws {
    let guest = try WholeGuest(way.setup)
    defer { guest.end() }
    guest.rest()
    try measure(guest, way, &cost.alone)
    try guest.begin()
    guest.rest()
    try measure(guest, way, &cost.protected)
    cost.pauses += guest.timePauses(seconds: Double(seconds))
    guard guest.losses == 0, guest.primary.console.trouble.isEmpty else {
      throw LabError("it was not protected all the time: \(guest.complaints)")
    }
  }

  private func measure(
    _ guest: WholeGuest, _ way: CostWay, _ figures: inout Cost.Figures
  ) throws {
    if way.setup.guest.disks > 0 { figures.writes += try guest.timeWrites(writes) }
    figures.trips += try guest.timeEcho(seconds: Double(seconds))
    figures.streams.append(try guest.measureStream(seconds: seconds))
  }

  private static func time(since start: ContinuousClock.Instant) -> String {
    String(format: "%.0f s", start.duration(to: .now).inSeconds)
  }

  private static var load: String {
    let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? "?"
    return String(text.prefix { $0 != " " })
  }
}

/// A way to protect the guest.
struct CostWay {
  let name: String
  let setup: WholeGuest.Setup

  /// All that are measured.
  static func all(away: Int) -> [CostWay] {
    func way(_ name: String, _ body: (inout WholeGuest.Setup) -> Void) -> CostWay {
      var setup = WholeGuest.Setup()
      (setup.way, setup.begins) = (.protect, false)
      // No packet asks for a checkpoint.
      setup.linger = 10_000
      body(&setup)
      return CostWay(name: name, setup: setup)
    }
    return [
      way("100ms") { $0.delay = 100 },
      way("20ms") { $0.delay = 20 },
      way("10ms") { $0.delay = 10 },
      way("5ms..10s on demand") { ($0.checkpoint, $0.linger) = ("5ms..10s", 2) },
      way("100ms, \(away) ms away") { $0.distance.all = .milliseconds(away) / 2 },
      way("100ms, no disk") { $0.guest.disks = 0 },
    ]
  }
}

/// What one way has cost.
struct Cost {
  /// What is measured with and without protection.
  struct Figures {
    var writes: [Duration] = []
    var trips: [Duration] = []
    /// Bytes a second.
    var streams: [Double] = []
  }

  var alone = Figures()
  var protected = Figures()
  var pauses: [Duration] = []
}
