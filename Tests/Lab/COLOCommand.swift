import ArgumentParser
import Foundation
import TestSupport

/// The standby against stock primaries that are killed.
struct COLOCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "colo",
    abstract: "Protects guests of stock QEMUs, kills the primaries, fails over; prints the matrix.",
    discussion: """
      For each cell: a stock COLO primary, perhaps a relay, `multifd receive --colo`, a guest under load, checkpoints, SIGKILL of the \
      primary at a random moment, failover into the same stock QEMU. The guest must go on from at most one interval \
      back and find all of its memory as it should be. With --compare the primary is held in its last checkpoint first, \
      and its memory compared with the store byte for byte. Without options about the cells a representative part of the \
      matrix is run; with any of them, all combinations of those given. 7.2 and 10.0 primaries under TCG stall by \
      themselves after one to three checkpoints, and do not send every page that their guest writes: they are \
      compared at the first checkpoint. Exit code 1 when any cell failed.
      """)

  @Option(help: "Primaries: 111, 100, 72.")
  var source: List<QEMUVersion>?

  @Option(help: "multifd channels; 0 is plain.")
  var channels: List<Int>?

  @Option(help: "Compressions: none, zlib, zstd.")
  var compression: List<String>?

  @Option(help: "x-checkpoint-delay in ms.")
  var delay: List<Int>?

  @Option(help: "MiB/s of text-like pages that the guest rewrites.")
  var rate: List<Int>?

  @Option(help: "Caches: sparse, mirror.")
  var cache: List<String>?

  @Option(help: "What happens at the loss: hold (then `multifd failover`), failover, spare.")
  var onLoss: List<Protection.OnLoss>?

  @Option(
    help: """
      Relays in front of the standby, with this --compression on the link: none (nothing said), lz4, …; direct: no relay.
      """)
  var link: List<String>?

  @Option(help: "TLS between primary and standby: none, x509, psk.")
  var tls: List<String>?

  @Flag(help: "A stock secondary instead of the standby: behind two relays, or direct; see --link.")
  var pair = false

  @Flag(help: "Of the representative cells those with relays.")
  var relayed = false

  @Option(
    help: "Checkpoints of each cell; default 10, and up to 100 for some of the representative ones."
  )
  var checkpoints: Int?

  @Flag(help: "Four cells of five checkpoints.")
  var quick = false

  @Flag(help: "Only: protect, fail over, protect again, fail over again, move away.")
  var andBack = false

  @Flag(help: "Compare the memory of a primary held in its last checkpoint with the store.")
  var compare = false

  @Option(
    help:
      "The guest's memory in MiB; every cell with each. Three quarters of it are filled with text.")
  var memory = List<Int>([256])

  @Option(help: "Seed of the random moments; default: another one each time.")
  var seed: UInt64?

  @Option(help: "Writes the cells as JSON to this file.")
  var json: String?

  func validate() throws {
    for name in compression?.elements ?? [] where !["none", "zlib", "zstd"].contains(name) {
      throw ValidationError("Unknown compression '\(name)': none, zlib, zstd.")
    }
    for name in cache?.elements ?? [] where !["sparse", "mirror"].contains(name) {
      throw ValidationError("Unknown cache '\(name)': sparse, mirror.")
    }
    let links = ["direct", "none", "nocomp", "zlib", "zstd", "lz4", "pool", "auto"]
    for name in link?.elements ?? [] where !links.contains(name) {
      throw ValidationError("Unknown link '\(name)': \(links.joined(separator: ", ")).")
    }
    for name in tls?.elements ?? [] where name != "none" && Credentials.Kind(rawValue: name) == nil
    {
      throw ValidationError("Unknown --tls '\(name)': none, x509, psk.")
    }
    if tls != nil, pair || compare || link != nil {
      throw ValidationError("--tls goes without --link, --pair and --compare.")
    }
    if pair, link == nil {
      throw ValidationError("--pair goes with --link.")
    }
    for count in channels?.elements ?? [] where !(0...16).contains(count) {
      throw ValidationError("\(count) channels: 0 to 16.")
    }
    for milliseconds in delay?.elements ?? [] where !(10...60_000).contains(milliseconds) {
      throw ValidationError("--delay: 10 to 60000.")
    }
    if let checkpoints, !(1...10_000).contains(checkpoints) {
      throw ValidationError("--checkpoints: 1 to 10000.")
    }
    for mebibytes in memory.elements where !(192...16384).contains(mebibytes) {
      throw ValidationError("--memory: 192 to 16384.")
    }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    let seed = seed ?? UInt64.random(in: 1...999_999)
    note("seed \(seed)")
    // The relays look for it where this process says.
    let examples = try ExamplePlugins(link?.elements.contains("pool") == true ? ["pool"] : [])
    defer { examples.remove() }
    if examples.missing.isEmpty { setenv("MULTIFD_PLUGIN_PATH", examples.arguments[1], 1) }
    var random = SeededGenerator(seed: seed)
    var matrix = COLOMatrix()
    let cells = cells
    var guests = SavedGuests()
    for (index, cell) in cells.enumerated() {
      if index == 0 || cell.memory != cells[index - 1].memory { guests = Self.guests(cell.memory) }
      let start = ContinuousClock.now
      let result = measure(cell, guests, &random)
      matrix.rows.append((cell, result))
      note("[\(index + 1)/\(cells.count)] \(cell): \(result), \(seconds(start.duration(to: .now)))")
    }
    say(matrix.table)
    say(matrix.summary + ", seed \(seed)")
    if let json { try matrix.json.text.write(toFile: json, atomically: true, encoding: .utf8) }
    if matrix.failures > 0 { throw ExitCode(1) }
  }

  private static func guests(_ memory: Int) -> SavedGuests {
    SavedGuests {
      $0.memory = memory
      $0.fill = max(32, memory * 3 / 4 - 160)
      $0.workingSet = 64
      $0.heartbeat = 200
    }
  }

  private func measure(
    _ cell: COLOCell, _ guests: SavedGuests, _ random: inout SeededGenerator
  ) -> COLOMatrix.Result {
    guard cell.source.isAvailableElseAnnounce("COLO with QEMU \(cell.source)") else {
      return .skipped
    }
    do { return .passed(try cell.run(guests, &random)) } catch { return .failed("\(error)") }
  }

  private var cells: [COLOCell] {
    let axes =
      source != nil || channels != nil || compression != nil || delay != nil || rate != nil
      || cache != nil || onLoss != nil || link != nil || tls != nil
    var cells = axes ? product : quick ? COLOCell.quick : COLOCell.representative
    if relayed { cells.removeAll { $0.link == "direct" } }
    if andBack { cells = axes ? cells : [COLOCell(delay: 100)] }
    for index in cells.indices {
      if let checkpoints { cells[index].checkpoints = checkpoints }
      if andBack { cells[index].andBack = true }
      cells[index].compare = compare
      if pair { cells[index].pair = true }
    }
    return memory.elements.flatMap { mebibytes in
      cells.map { cell in
        var cell = cell
        cell.memory = mebibytes
        return cell
      }
    }
  }

  private var product: [COLOCell] {
    var cells: [COLOCell] = []
    for source in source?.elements ?? [.v111] {
      for channels in channels?.elements ?? [2] {
        for compression in channels == 0 ? ["none"] : compression?.elements ?? ["none"] {
          for delay in delay?.elements ?? [600] {
            for rate in rate?.elements ?? [32] {
              for cache in cache?.elements ?? ["sparse"] {
                for onLoss in onLoss?.elements ?? [.hold] {
                  for link in link?.elements ?? ["direct"] {
                    for tls in tls?.elements ?? ["none"] {
                      cells.append(
                        COLOCell(
                          source: source, channels: channels, compression: compression,
                          delay: delay, rate: rate, cache: cache, onLoss: onLoss, link: link,
                          tls: Credentials.Kind(rawValue: tls)))
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    return cells
  }
}
