import ArgumentParser
import Foundation
import Results
import TestSupport

/// What it brings to get memory ahead of the channels.
struct BenchAhead: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ahead",
    abstract: "Measures multifd receive with threads that get memory ahead of its channels.",
    discussion: """
      A stopped guest full of text-like pages goes from a stock QEMU into a store, without compression, with each \
      number of threads in turns. Ratios are to the first of them in the same round. Says something only where \
      there are processors that source and channels leave idle.
      """)

  /// What the store's memory comes in.
  enum Pages: String, CaseIterable, ExpressibleByArgument {
    case small, huge
  }

  @Option(help: "The stock QEMU that sends.")
  var qemu: QEMUVersion = .v111

  @Option(help: "Threads that get memory ahead; the first is what the others are compared with.")
  var threads = List<Int>([0, 1, 2, 4, 8])

  @Option(help: "multifd channels; 0 is without multifd.")
  var channels = List<Int>([1, 2, 4, 8])

  @Option(help: "Pages of the store's tmpfs: small, huge.")
  var pages = List<Pages>([.small, .huge])

  @Option(help: "The guest's memory in MiB.")
  var memory = 4096

  @Option(help: "Rounds.")
  var rounds = 3

  func validate() throws {
    guard threads.elements.allSatisfy({ (0...64).contains($0) }) else {
      throw ValidationError("--threads: 0 to 64.")
    }
    guard channels.elements.allSatisfy({ (0...64).contains($0) }) else {
      throw ValidationError("--channels: 0 to 64.")
    }
    guard (256...16384).contains(memory) else { throw ValidationError("--memory: 256 to 16384.") }
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard qemu.isAvailableElseAnnounce("bench ahead, QEMU \(qemu)") else { throw ExitCode(1) }
    note("booting a guest of \(memory) MiB")
    let saved = try SavedGuest(
      qemu,
      QEMU.Machine(
        type: qemu.machine(with: qemu), memory: memory, fill: memory * 7 / 8 - 96, workingSet: 1,
        heartbeat: 1000))
    var table = Table(["pages", "channels", "threads", "time, s", "ratio", "CPU, s", "ratio"])
    for pages in pages.elements {
      if pages == .huge, !BenchHome.hasHugePages { continue }
      for channels in channels.elements {
        let lane = try TransferLane(qemu, saved, channels: channels, compression: "none")
        defer { lane.end() }
        try measure(lane, pages, channels, &table)
      }
    }
    say(Section("Memory got ahead", [.table(table)]).markdown(pictures: "."))
  }

  private func measure(
    _ lane: TransferLane, _ pages: Pages, _ channels: Int, _ table: inout Table
  ) throws {
    var wall = [Series](repeating: Series(), count: threads.elements.count)
    var processor = wall
    for round in 1...rounds {
      for (index, count) in threads.elements.enumerated() {
        note("\(pages) pages, \(channels) channels, \(count) threads, round \(round)")
        let home = try BenchHome(mebibytes: memory, isOnSmallPages: pages == .small)
        defer { home.end() }
        let sample = try lane.receive(
          home.store, arguments: ["--preallocation-threads", "\(count)"])
        wall[index].values.append(sample.wall.inSeconds)
        processor[index].values.append(sample.processor.inSeconds)
      }
    }
    for (index, count) in threads.elements.enumerated() {
      table.rows.append([
        pages.rawValue, "\(channels)", "\(count)", wall[index].text(),
        wall[index].relative(to: wall[0]).text(), processor[index].text(),
        processor[index].relative(to: processor[0]).text(),
      ])
    }
  }
}
