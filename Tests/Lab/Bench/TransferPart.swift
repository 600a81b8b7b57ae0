import Results
import TestSupport

/// Measures guests that are moved, for the page.
struct TransferPart {
  private let version: QEMUVersion
  private let plan: BenchPlan
  private let backends: BenchBackends

  init(_ version: QEMUVersion, _ plan: BenchPlan, _ backends: BenchBackends) {
    (self.version, self.plan, self.backends) = (version, plan, backends)
  }

  func run() throws -> TransferResult {
    var rows: [TransferResult.Row] = []
    let lanes = plan.lanes.reduce(0) { $0 + $1.channels.count }
    for lane in plan.lanes {
      note("transfer: booting a guest of \(lane.memory) MiB")
      let machine = QEMU.Machine(
        type: version.machine(with: version), memory: lane.memory,
        fill: lane.memory * 7 / 8 - 96, workingSet: 1, heartbeat: 1000)
      let saved = try SavedGuest(version, machine)
      for channels in lane.channels {
        rows += try measure(
          lane, channels, saved, isFirst: channels == lane.channels.first,
          seconds: plan.transferSeconds / Double(lanes))
      }
    }
    return TransferResult(rows)
  }

  /// The rows of one lane: one for each backend that speaks its compression. Stock to stock is
  /// measured once for all of them.
  private func measure(
    _ lane: BenchPlan.Lane, _ channels: Int, _ saved: SavedGuest, isFirst: Bool,
    seconds time: Double
  ) throws -> [TransferResult.Row] {
    let names = backends.speaking(lane.compression).map(\.name)
    var rows = names.map {
      TransferResult.Row(
        compression: lane.compression, backend: $0, channels: channels, memory: lane.memory,
        isOnSmallPages: lane.isOnSmallPages, isTLS: lane.isTLS)
    }
    let transfer = try TransferLane(
      version, saved, channels: channels, compression: lane.compression, isTLS: lane.isTLS)
    defer { transfer.end() }
    if isFirst {
      // A guest's first store gets memory in huge pages that nobody has had yet: alone among the
      // ways it would pay for that. What is wrong shows in the first round that counts.
      var uncounted = rows
      try? round(lane, transfer, &uncounted)
    }
    var rounds = Rounds(seconds: time, most: plan.rounds)
    while rounds.next() {
      // A round counts as a whole or not at all, so that those of all ways belong together.
      var next = rows
      do {
        try round(lane, transfer, &next)
        rows = next
        note(
          "transfer: \(lane.compression), \(channels) channels, round \(rounds.number): "
            + "stock to stock \(rows[0].stock.text())")
      } catch {
        note("transfer: \(lane.compression), \(channels) channels: FAILED: \(error)")
        for index in rows.indices { rows[index].failure = "\(error)" }
        break
      }
    }
    return rows
  }

  private func round(
    _ lane: BenchPlan.Lane, _ transfer: TransferLane, _ rows: inout [TransferResult.Row]
  ) throws {
    let stock = try transfer.stock()
    for index in rows.indices {
      rows[index].contents = stock.contents
      rows[index].stock.values.append(stock.wall.inSeconds)
      rows[index].stockSource.values.append(stock.source.inSeconds)
      rows[index].stockDestination.values.append(stock.destination.inSeconds)
      let home = try BenchHome(mebibytes: rows[index].memory, isOnSmallPages: lane.isOnSmallPages)
      defer { home.end() }
      let store = home.store, backend = BenchBackends.spec(rows[index].backend)
      rows[index].receive.add(try transfer.receive(store, backend: backend))
      rows[index].send.add(try transfer.send(store, backend: backend))
      rows[index].relays.add(try transfer.relays(backend: backend))
    }
  }
}

extension TransferResult.Way {
  fileprivate mutating func add(_ sample: TransferLane.Sample) {
    add(wall: sample.wall.inSeconds, processor: sample.processor.inSeconds)
  }
}
