import ArgumentParser
import Foundation
import TestSupport

/// Relays next to a direct migration: the same guest, the same settings, the same link, in turns.
struct BenchRelay: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay",
    abstract: "Measures migrations through two relays next to direct ones.",
    discussion: """
      In turns: a stock QEMU to another, directly and without compression; and through two relays, with each format on \
      the link between them. The guest is stopped, return-path is on. A limited link is a veth pair between two network \
      namespaces, source and near relay on one side, far relay and destination on the other: that takes root. A ratio \
      above 1 means less time than the direct migration of the same guest over the same link. All processes share this \
      machine's processors: with two of them, what compresses has less to itself than on machines of its own.
      """)

  @Option(help: "The stock QEMU on both sides.")
  var qemu: QEMUVersion?

  @Option(help: "Links: none (loopback, not limited), or 10^6 bits a second.")
  var links = List<Link>([.loopback, .limited(1000), .limited(200)])

  @Option(help: "Formats on the link: raw, auto, or backends.")
  var formats = List<String>(["raw", "lz4", "zstd", "igzip", "auto"])

  @Option(help: "multifd channels.")
  var channels = 2

  @Option(help: "The guest's memory in MiB (on a limited link half of it, and less on a slow one).")
  var memory = 1024

  @Option(help: "Rounds of all ways.")
  var rounds = 3

  @Option(help: "Writes the figures as JSON to this file.")
  var json: String?

  func validate() throws {
    guard (512...16384).contains(memory) else { throw ValidationError("--memory: 512 to 16384.") }
    guard (1...16).contains(channels) else { throw ValidationError("--channels: 1 to 16.") }
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    let wanted = qemu.map { [$0] } ?? [.v111, .v100, .v72]
    guard
      let version = wanted.first(where: { $0.isAvailableElseAnnounce("bench relay, QEMU \($0)") })
    else {
      say("No stock QEMU to measure against: run `make setup`.")
      throw ExitCode(1)
    }
    var formats = formats.elements
    if formats.contains("igzip"), let reason = Lab.igzipUnavailable {
      reason.announce("bench relay, igzip")
      formats.removeAll { $0 == "igzip" }
    }
    var guests: [String: SavedGuest] = [:]
    var groups: [RelayGroup] = []
    var skipped: [Link] = []
    for link in links.elements {
      guard let cable = link.lay() else {
        skipped.append(link)
        continue
      }
      defer { cable.remove() }
      for mix in ["text", "rand"] {
        let wanted = link.formats(formats, mix)
        guard !wanted.isEmpty else { continue }
        let key = "\(link.memory(memory)) MiB, \(mix)"
        let saved = try guests[key] ?? boot(version, link.memory(memory), mix)
        guests[key] = saved
        let way = BenchWay(version, saved, channels, cable)
        groups.append(measure(way, RelayGroup(link, saved.machine, wanted)))
      }
    }
    tell(version, groups, skipped)
    if let json {
      let rows = JSON.array(groups.flatMap(\.json))
      try rows.text.write(toFile: json, atomically: true, encoding: .utf8)
    }
    if groups.contains(where: \.hasFailed) { throw ExitCode(1) }
  }

  private func boot(_ version: QEMUVersion, _ mebibytes: Int, _ mix: String) throws -> SavedGuest {
    let machine = QEMU.Machine(
      type: version.machine(with: version), memory: mebibytes, fill: mebibytes * 7 / 8 - 96,
      workingSet: 1, mix: mix, heartbeat: 1000)
    note("booting a guest of \(mebibytes) MiB, \(mix)")
    return try SavedGuest(version, machine)
  }

  private func measure(_ way: BenchWay, _ group: RelayGroup) -> RelayGroup {
    var group = group
    for round in 1...rounds {
      for index in group.rows.indices where group.rows[index].failure == nil {
        let place = "\(group.title), \(group.rows[index].title), \(round)/\(rounds)"
        do {
          let sample = try way.run(group.rows[index].format)
          group.rows[index].samples.append(sample)
          note("\(place): \(seconds(sample.wall)) \(sample.choices)")
        } catch {
          group.rows[index].failure = "\(error)"
          note("\(place): FAILED: \(error)")
        }
      }
    }
    return group
  }

  private func tell(_ version: QEMUVersion, _ groups: [RelayGroup], _ skipped: [Link]) {
    say(
      "Stock QEMU \(version), \(channels) channels, guest stopped, median of \(rounds) (spread); "
        + "\(ProcessInfo.processInfo.activeProcessorCount) processors for all processes; "
        + "GB and GiB of pages with contents")
    say(RelayGroup.head)
    for group in groups { for line in group.lines { say(line) } }
    for link in skipped { say(column("\(link)", 42) + "SKIPPED, see above") }
    let aims = groups.flatMap(\.aims)
    if !aims.isEmpty { say("What is aimed at:") }
    for aim in aims { say("  " + aim) }
  }
}
