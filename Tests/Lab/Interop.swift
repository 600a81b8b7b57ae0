import ArgumentParser
import Foundation
import TestSupport

/// The matrix: every stock QEMU as source and as destination, every compression, several channel
/// counts, through a store and through relays.
struct Interop: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Moves guests between stock QEMUs, through stores and relays; prints the matrices.",
    discussion: """
      For each cell a guest that checks its own memory is migrated from a stock QEMU into another one, live under light \
      dirtying (a 7.2 source: stopped): by way of a store, or through relays, between which is a link. It must go on \
      beating and find every page as it should be. The relays' cells are not the full product: each pair of QEMUs is \
      tried with each format, and each value of everything else meets each other. Exit code 1 when any cell failed.
      """)

  /// What is between the two QEMUs.
  enum Part: String, ExpressibleByArgument, CaseIterable {
    case store, relay, tls
  }

  @Option(help: "What is between the QEMUs: store, relay; a store by tls.")
  var part = List<Part>(Part.allCases)

  @Option(help: "QEMUs that the guest comes from.")
  var source = List<QEMUVersion>(QEMUVersion.allCases)

  @Option(help: "QEMUs that the guest goes to.")
  var destination = List<QEMUVersion>(QEMUVersion.allCases)

  @Option(
    help: """
      Compressions: none, zlib, zstd; of relays also nocomp, lz4, igzip, rle-c, pool, auto. Default: all.
      """)
  var compression: List<String>?

  @Option(help: "multifd channels; 0 is a plain migration. Default: 0,1,2,4 and of relays 8 too.")
  var channels: List<Int>?

  @Flag(help: "Only plain, and two channels.")
  var quick = false

  @Option(help: "Writes the cells as JSON to this file.")
  var json: String?

  func validate() throws {
    let known = Set(StoreInterop.compressions + RelayInterop.compressions)
    for name in compression?.elements ?? [] where !known.contains(name) {
      throw ValidationError(
        "Unknown compression '\(name)': \(known.sorted().joined(separator: ", ")).")
    }
    for count in channels?.elements ?? [] where !(0...16).contains(count) {
      throw ValidationError("\(count) channels: 0 to 16.")
    }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    let guests = SavedGuests()
    var failures = 0
    var cells: [JSON] = []
    if part.elements.contains(.store) {
      let matrix = StoreInterop(self).run(guests)
      say(matrix.table)
      say("through a store: " + matrix.summary)
      failures += matrix.failures
      cells += matrix.json.elements
    }
    if part.elements.contains(.tls) {
      let matrix = StoreInterop(self, isTLS: true).run(guests)
      say(matrix.table)
      say("through a store by TLS: " + matrix.summary)
      failures += matrix.failures
      cells += matrix.json.elements
    }
    if part.elements.contains(.relay) {
      let matrix = try RelayInterop(self).run(guests)
      say(matrix.table)
      say("through relays: " + matrix.summary)
      failures += matrix.failures
      cells += matrix.json.elements
    }
    if let json {
      try JSON.array(cells).text.write(toFile: json, atomically: true, encoding: .utf8)
    }
    if failures > 0 { throw ExitCode(1) }
  }

  /// Whether the operator has left these values in.
  func wants(_ source: QEMUVersion, _ destination: QEMUVersion, _ compression: String, _ count: Int)
    -> Bool
  {
    self.source.elements.contains(source) && self.destination.elements.contains(destination)
      && (self.compression?.elements.contains(compression) ?? true)
      && (channels?.elements.contains(count) ?? true) && (!quick || count == 0 || count == 2)
  }
}
