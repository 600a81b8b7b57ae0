import Foundation
import Results
import TestSupport

/// Guests with nearly nothing in their memory, in stock QEMUs: what their size and the number of
/// channels cost by themselves.
struct IdleGuests {
  private let version: QEMUVersion
  private let rounds: Int

  /// MiB of the guest whose channels are counted up; and channels of those that grow.
  private static let (middle, channels) = (1024, 4)
  private static let checkpoints = 10

  init(_ version: QEMUVersion, rounds: Int) { (self.version, self.rounds) = (version, rounds) }

  // MARK: Receiving

  func receive(memory: [Int], channels: [Int]) throws -> Section {
    var table = Table([
      "guest", "channels", "stock, s", "receive: time", "receive, CPU s", "receive: CPU",
      "receive, MiB beside the guest", "pages with contents, MiB",
    ])
    try forEach(memory, channels) { saved, channels in
      let lane = try TransferLane(version, saved, channels: channels, compression: "none")
      defer { lane.end() }
      var (stock, stockProcessor) = (Series(), Series())
      var (wall, processor, anonymous) = (Series(), Series(), Series())
      var contents = 0
      for round in 1...rounds {
        note("receive: \(saved.machine.memory) MiB, \(channels) channels, round \(round)")
        let sample = try lane.stock()
        contents = sample.contents
        stock.values.append(sample.wall.inSeconds)
        stockProcessor.values.append(sample.destination.inSeconds)
        let folder = try TemporaryFolder(.memory(bytes: 1 << 30))
        defer { folder.remove() }
        var memory: StandbyMemory?
        let ours = try lane.receive(folder("store")) {
          memory = StandbyMemory($0.process.pid, folder: nil, interval: 0.01)
        }
        wall.values.append(ours.wall.inSeconds)
        processor.values.append(ours.processor.inSeconds)
        anonymous.values.append(Double(memory?.stop().anonymous ?? 0) / Double(1 << 20))
      }
      table.rows.append([
        size(saved.machine.memory), "\(channels)", stock.text(), wall.relative(to: stock).text(),
        processor.text(), processor.relative(to: stockProcessor).text(), anonymous.text(1),
        "\(contents >> 20)",
      ])
    }
    let text = """
      A stopped guest that has booted and done nothing goes from a stock QEMU to another, and into a store, without \
      compression. Ratios to stock to stock, and to the CPU of the stock destination, in the same round.
      """
    return Section("Receiving", [.text(text), .table(table)])
  }

  // MARK: Checkpoints

  func checkpoint(memory: [Int], channels: [Int]) throws -> Section {
    var table = Table(
      [
        "guest", "channels", "cache", "guest's pause, ms", "transfer, ms", "commit, ms",
        "standby's CPU, ms a checkpoint", "standby, MiB beside the guest",
      ])
    try forEach(memory, channels) { saved, channels in
      for cache in ["sparse", "mirror"] {
        var figures = [String: Series]()
        for round in 1...rounds {
          note("checkpoint: \(saved.machine.memory) MiB, \(channels) channels, \(cache), \(round)")
          for (name, value) in try protect(saved, channels, cache) {
            figures[name, default: Series()].values.append(value)
          }
        }
        table.rows.append(
          [size(saved.machine.memory), "\(channels)", cache]
            + ["pause", "transfer", "commit", "processor", "memory"].map {
              (figures[$0] ?? Series()).text()
            })
      }
    }
    table.words = 1
    let text = """
      The same guests, running and idle, protected by `multifd receive --colo`: \(Self.checkpoints) checkpoints a round, \
      medians of the rounds' medians. The pause is the primary's own, with what QEMU does in it; transfer is from VMSTATE_SEND \
      until the devices are there.
      """
    return Section("Idle checkpoints", [.text(text), .table(table)])
  }

  private func protect(
    _ saved: SavedGuest, _ channels: Int, _ cache: String
  ) throws -> [String: Double] {
    let primary = try saved.start(in: version)
    defer { primary.terminate() }
    let protection = try Protection(
      primary, .colo(version, channels: channels, delay: 100), cache: cache)
    defer { protection.end() }
    let standby = protection.standby.process.pid
    // What is done once is over then.
    _ = protection.session.waitCheckpoints(2, .seconds(120))
    let start = Self.processorTime(standby)
    let first = protection.session.checkpoints.count
    let reached = protection.session.waitCheckpoints(first + Self.checkpoints, .seconds(120))
    guard reached >= first + Self.checkpoints else { throw LabError("only \(reached) checkpoints") }
    let used = Self.processorTime(standby) - start
    let memory = StandbyMemory.amount(standby, folder: protection.store + "/cache")
    let pauses = protection.session.pauses.dropFirst(2).map { $0.inSeconds * 1000 }
    primary.killNow()
    let report = try protection.standby.wait().json
    guard let transfer = report["transfer"]["p50"].double,
      let commit = report["commit"]["p50"].double
    else { throw LabError("the standby said nothing of its checkpoints: \(report.text)") }
    return [
      "pause": Series(Array(pauses)).median, "transfer": transfer, "commit": commit,
      "processor": used * 1000 / Double(reached - first),
      "memory": Double(memory.total) / Double(1 << 20),
    ]
  }

  /// Seconds that the threads which a process and its children now have were on a processor.
  private static func processorTime(_ pid: pid_t) -> Double {
    StandbyMemory.family(of: pid).reduce(0) { sum, pid in
      let folder = "/proc/\(pid)/task"
      let tasks = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return tasks.reduce(sum) { sum, task in
        let text = try? String(contentsOfFile: "\(folder)/\(task)/schedstat", encoding: .utf8)
        return sum + (Double((text ?? "").prefix { $0 != " " }) ?? 0) / 1e9
      }
    }
  }

  // MARK: Guests

  /// Guests as they grow, and one with more and more channels. Each is booted once.
  private func forEach(
    _ memory: [Int], _ channels: [Int], _ body: (SavedGuest, Int) throws -> Void
  ) throws {
    for mebibytes in Set(memory + [Self.middle]).sorted() {
      var counts = memory.contains(mebibytes) ? [Self.channels] : []
      if mebibytes == Self.middle { counts = Set(counts + channels).sorted() }
      note("booting a guest of \(mebibytes) MiB")
      let saved = try SavedGuest(
        version,
        QEMU.Machine(
          type: version.machine(with: version), memory: mebibytes, fill: 16, workingSet: 1,
          heartbeat: 1000))
      for count in counts { try body(saved, count) }
    }
  }

  private func size(_ mebibytes: Int) -> String {
    mebibytes < 1024 ? "\(mebibytes) MiB" : "\(mebibytes / 1024) GiB"
  }
}
