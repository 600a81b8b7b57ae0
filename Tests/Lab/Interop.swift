import ArgumentParser
import Foundation
import TestSupport

/// The matrix: every stock QEMU as source and as destination, every compression, several channel
/// counts.
struct Interop: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Takes guests in from stock QEMUs and hands them out again; prints the matrix.",
    discussion: """
      For each cell a guest that checks its own memory is migrated from a stock QEMU into a store and from there \
      into another stock QEMU, live under light dirtying (a 7.2 source: stopped). It must go on beating and find \
      every page as it should be. Exit code 1 when any cell failed.
      """)

  @Option(help: "QEMUs that the guest comes from.")
  var source = List<QEMUVersion>(QEMUVersion.allCases)

  @Option(help: "QEMUs that the guest goes to.")
  var destination = List<QEMUVersion>(QEMUVersion.allCases)

  @Option(help: "Compressions: none, zlib, zstd.")
  var compression = List<String>(["none", "zlib", "zstd"])

  @Option(help: "multifd channels; 0 is a plain migration.")
  var channels = List<Int>([0, 1, 2, 4])

  @Flag(help: "Only plain, and two channels.")
  var quick = false

  @Option(help: "Writes the cells as JSON to this file.")
  var json: String?

  func validate() throws {
    for name in compression.elements where !["none", "zlib", "zstd"].contains(name) {
      throw ValidationError("Unknown compression '\(name)': none, zlib, zstd.")
    }
    for count in channels.elements where !(0...16).contains(count) {
      throw ValidationError("\(count) channels: 0 to 16.")
    }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    var matrix = Matrix(columns: columns)
    let guests = SavedGuests()
    let count = source.elements.count * destination.elements.count * columns.count
    var number = 0
    for from in source.elements {
      for to in destination.elements {
        for column in columns {
          number += 1
          let cell = Passage.Cell(
            from, to, channels: column.channels, compression: column.compression)
          let result = measure(cell, guests)
          matrix.set(cell, result)
          note(
            "[\(number)/\(count)] \(cell): \(result)".split(whereSeparator: \.isNewline).joined(
              separator: " | "))
        }
      }
    }
    say(matrix.table)
    say(matrix.summary)
    if let json { try matrix.json.text.write(toFile: json, atomically: true, encoding: .utf8) }
    if matrix.failures > 0 { throw ExitCode(1) }
  }

  private var columns: [Matrix.Column] {
    let counts = quick ? channels.elements.filter { $0 == 0 || $0 == 2 } : channels.elements
    let plain = counts.contains(0) ? [Matrix.Column(channels: 0, compression: "none")] : []
    return plain
      + compression.elements.flatMap { name in
        counts.filter { $0 > 0 }.map { Matrix.Column(channels: $0, compression: name) }
      }
  }

  private func measure(_ cell: Passage.Cell, _ guests: SavedGuests) -> Matrix.Result {
    for version in [cell.source, cell.destination]
    where !version.isAvailableElseAnnounce("interop with QEMU \(version)") {
      return .skipped
    }
    do {
      let saved = try guests.guest(cell.source, cell.machine)
      let start = ContinuousClock.now
      let passage = try Passage(cell, saved)
      defer { passage.end() }
      let taken = try passage.takeIn()
      passage.endSource()
      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      _ = try passage.check(destination)
      return .passed(start.duration(to: .now))
    } catch {
      return .failed("\(error)")
    }
  }
}
