import ArgumentParser
import Foundation
import TestSupport

/// Throughput next to stock QEMU: the same guest, the same settings, the same machine, in turns.
struct BenchStore: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Measures multifd receive and multifd send next to stock QEMUs.",
    discussion: """
      In turns: stock to stock (A), stock to `multifd receive` (B), `multifd send` to stock (C). The guest is \
      stopped and full of text-like pages; return-path is on everywhere. A ratio above 1 means that multifd took \
      less time than stock QEMU. Figures of one run on a busy machine spread widely: compare ratios, not runs.
      """)

  @Option(help: "The stock QEMU on the other side.")
  var qemu: QEMUVersion?

  @Option(help: "Compressions: none, zlib, zstd.")
  var compression = List<String>(["none", "zstd", "zlib"])

  @Option(help: "multifd channels; 0 is without multifd.")
  var channels = 2

  @Option(help: "The guest's memory in MiB (zlib: half of it).")
  var memory = 1024

  @Flag(help: "All of it by TLS, with certificates.")
  var tls = false

  @Option(help: "Rounds of A, B, C.")
  var rounds = 3

  @Option(help: "Writes the figures as JSON to this file.")
  var json: String?

  func validate() throws {
    for name in compression.elements where !["none", "zlib", "zstd"].contains(name) {
      throw ValidationError("Unknown compression '\(name)': none, zlib, zstd.")
    }
    guard (256...16384).contains(memory) else { throw ValidationError("--memory: 256 to 16384.") }
    guard (0...16).contains(channels) else { throw ValidationError("--channels: 0 to 16.") }
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    let wanted = qemu.map { [$0] } ?? [.v111, .v100, .v72]
    guard let version = wanted.first(where: { $0.isAvailableElseAnnounce("bench, QEMU \($0)") })
    else {
      say("No stock QEMU to measure against: run `make setup`.")
      throw ExitCode(1)
    }
    var rows: [BenchRow] = []
    for name in compression.elements {
      rows.append(try measure(version, name))
    }
    say(
      "Stock QEMU \(version), \(channels) channels\(tls ? ", TLS" : ""), guest stopped, median of \(rounds) (spread), GB/s of guest RAM"
    )
    say(BenchRow.head)
    for row in rows { for line in row.lines { say(line) } }
    if let json {
      try JSON.array(rows.map(\.json)).text.write(toFile: json, atomically: true, encoding: .utf8)
    }
  }

  private func measure(_ version: QEMUVersion, _ name: String) throws -> BenchRow {
    let mebibytes = name == "zlib" ? memory / 2 : memory
    let cell = Passage.Cell(version, version, channels: channels, compression: name)
    let machine = QEMU.Machine(
      type: cell.machine, memory: mebibytes, fill: mebibytes * 7 / 8 - 96, workingSet: 1,
      heartbeat: 1000)
    note("\(name): booting a guest of \(mebibytes) MiB")
    let saved = try SavedGuest(version, machine)
    let lane = try TransferLane(version, saved, channels: channels, compression: name, isTLS: tls)
    defer { lane.end() }
    var row = BenchRow(compression: name, bytes: mebibytes << 20)
    for round in 1...rounds {
      let stock = try lane.stock()
      row.add(stock)
      note("\(name) \(round)/\(rounds): stock to stock \(seconds(stock.wall))")
      let folder = try TemporaryFolder(.memory(bytes: mebibytes << 20))
      defer { folder.remove() }
      let receive = try lane.receive(folder("store"))
      row.receive.append(receive.wall)
      row.receiveProcessor.append(receive.processor)
      note("\(name) \(round)/\(rounds): stock to multifd receive \(seconds(receive.wall))")
      let send = try lane.send(folder("store"), backend: cell.backend)
      row.send.append(send.wall)
      row.sendProcessor.append(send.processor)
      note("\(name) \(round)/\(rounds): multifd send to stock \(seconds(send.wall))")
    }
    return row
  }
}
