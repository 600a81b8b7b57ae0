import ArgumentParser
import Foundation
import Results
import TestSupport

/// Everything that is measured next to stock QEMU, in one run, and a page of it.
struct BenchPage: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "page",
    abstract: "Measures transfers, codecs, checkpoints, failovers; writes a page of results.",
    discussion: """
      Every part goes in rounds: stock QEMU and multifd in turns, ratios within a round, medians over the rounds. Ten \
      minutes on two cores, one with --quick. Without --output the page goes to stdout, without its pictures.
      """)

  /// What there is to measure.
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case transfer, codec, checkpoint, failover
  }

  @Flag(help: "A minute instead of ten.")
  var quick = false

  @Option(help: "Only these parts.")
  var parts = List<Part>(Part.allCases)

  @Option(help: "The stock QEMU of all parts.")
  var qemu: QEMUVersion = .v111

  @Option(
    help: ArgumentHelp(
      "Codecs with pages of your own, too: a raw image of memory, or a store.", valueName: "path"))
  var corpus: String?

  @Option(
    help: ArgumentHelp("The page; its pictures go into a folder beside it.", valueName: "file"))
  var output: String?

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    guard qemu.isAvailableElseAnnounce("bench page, QEMU \(qemu)") else {
      say("No stock QEMU to measure against: run `make setup`.")
      throw ExitCode(1)
    }
    let start = ContinuousClock.now
    let plan: BenchPlan = quick ? .quick : .normal
    var machine = try Machine.here([qemu])
    let backends = try BenchBackends()
    let codec = try CodecPart(plan, backends, corpus: corpus)
    var sections: [Section] = []
    var failed = false
    for part in parts.elements {
      machine.others.append((part.rawValue, Machine.othersShare()))
      do {
        switch part {
        case .transfer:
          sections.append(try TransferPart(qemu, plan, backends).run().section)
        case .codec: sections.append(try codec.run().section)
        case .checkpoint: sections.append(try CheckpointPart(qemu, plan).run().section)
        case .failover: sections += try FailoverPart(qemu, plan).run().sections
        }
      } catch {
        note("\(part.rawValue): FAILED: \(error)")
        sections.append(Section(part.rawValue.capitalized, failure: "\(error)"))
        failed = true
      }
    }
    let page = Page(
      machine: machine, command: command, seconds: start.duration(to: .now).inSeconds,
      sections: sections)
    try write(page)
    if failed { throw ExitCode(1) }
  }

  /// As somebody else would type it.
  private var command: String {
    var words: [String] = []
    if quick { words.append("--quick") }
    if parts.elements != Part.allCases {
      words.append("--parts " + parts.elements.map(\.rawValue).joined(separator: ","))
    }
    if qemu != .v111 { words.append("--qemu \(qemu.rawValue)") }
    if corpus != nil { words.append("--corpus …") }
    return words.isEmpty ? "make bench" : "make bench ARGS='\(words.joined(separator: " "))'"
  }

  private func write(_ page: Page) throws {
    guard let output else { return say(page.markdown(pictures: ".")) }
    let file = URL(filePath: output)
    let name = file.deletingPathExtension().lastPathComponent.lowercased()
    let folder = file.deletingLastPathComponent().appending(path: name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for picture in page.pictures {
      try picture.svg.write(
        to: folder.appending(path: picture.name + ".svg"), atomically: true, encoding: .utf8)
    }
    try page.markdown(pictures: name).write(to: file, atomically: true, encoding: .utf8)
    note("\(output) is written")
  }
}
