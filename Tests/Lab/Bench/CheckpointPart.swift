import Results
import TestSupport

/// Measures checkpoints, for the page: `multifd bench checkpoint` does it.
struct CheckpointPart {
  private let version: QEMUVersion
  private let plan: BenchPlan

  private static let (delay, memory) = (100, 256)

  init(_ version: QEMUVersion, _ plan: BenchPlan) { (self.version, self.plan) = (version, plan) }

  func run() throws -> CheckpointResult {
    var rows = plan.checkpointChannels.flatMap { channels in
      plan.checkpointLoads.map { CheckpointResult.Row(channels: channels, load: $0) }
    }
    var rounds = Rounds(seconds: plan.checkpointSeconds, most: plan.rounds)
    while rounds.next() {
      note("checkpoints: round \(rounds.number)")
      let table = try measure()["rows"].elements
      for index in rows.indices { rows[index].add(table) }
    }
    return CheckpointResult(
      rows, checkpoints: plan.checkpoints, delay: Self.delay, memory: Self.memory)
  }

  private func measure() throws -> JSON {
    let qemu = "\(Lab.executableFolder)/multifd-lab qemu \(version.rawValue)"
    func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ",") }
    let result = try MultiFDProcess.run(
      [
        "bench", "checkpoint", "--primary", qemu, "--secondary", qemu, "--accel", "tcg",
        "--memory", "\(Self.memory)", "--delay", "\(Self.delay)", "--checkpoints",
        "\(plan.checkpoints)", "--channels", list(plan.checkpointChannels), "--load",
        list(plan.checkpointLoads), "--json",
      ], .seconds(300))
    // 1: a row is missing, and the others are there.
    guard [0, 1].contains(result.code), result.json != .null else {
      throw LabError("multifd bench checkpoint: \(result)")
    }
    return result.json
  }
}

extension CheckpointResult.Row {
  /// Adds a round: both standbys' figures, or none.
  fileprivate mutating func add(_ table: [JSON]) {
    func row(_ secondary: String) -> JSON {
      table.first {
        $0["channels"].int == channels && $0["load"].int == load
          && $0["secondary"].string == secondary
      } ?? .null
    }
    let (ours, theirs) = (row("multifd"), row("stock"))
    if let failure = ours["failure"].string ?? theirs["failure"].string { self.failure = failure }
    guard let pause = ours["pause"]["p50"].double, let longest = ours["pause"]["max"].double,
      let stockPause = theirs["pause"]["p50"].double,
      let stockLongest = theirs["pause"]["max"].double
    else { return }
    self.pause.values.append(pause)
    self.longest.values.append(longest)
    self.stockPause.values.append(stockPause)
    self.stockLongest.values.append(stockLongest)
    if let commit = ours["commit"]["p50"].double { self.commit.values.append(commit) }
    if let pages = ours["pages"].double { self.pages.values.append(pages) }
  }
}
