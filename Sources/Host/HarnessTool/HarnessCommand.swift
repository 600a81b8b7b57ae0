// The command `multifd-harness`: parses, runs, prints, exits. HarnessCommand+Settings makes a run's
// settings of its options, HarnessCommand+Certificate a certificate of what was tried.

import ArgumentParser
import CLinux
import Glibc
import Harness
import Version

/// The one command.
struct HarnessCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "multifd-harness",
    abstract: "Tries a multifd compression backend against every rule of multifd_plugin.h.",
    discussion: """
      Every test runs in a process of its own: a crash, a hang or an exit() is a result. A breach is put down to \
      the test whose rule it breaks, whatever test it was seen in.

      A test is named by its name, its group, or a regular expression. Exit codes: 0 all pass; 1 failures; 2 the \
      library cannot be loaded; 64 usage; 70 a fault of the harness.
      """,
    version: multifdVersion)

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case human, tap, junit, json
  }

  @Argument(
    help: ArgumentHelp("The backend: libmultifd-NAME.so.", valueName: "file"), completion: .file())
  var file: String?

  @Flag(help: "Print every test's name and summary.")
  var list = false

  @Option(help: ArgumentHelp("Run these tests only.", valueName: "test"))
  var only: [String] = []

  @Flag(help: "Run the tests that failed when they were last run.")
  var onlyFailed = false

  @Option(help: ArgumentHelp("Leave these tests out.", valueName: "test"))
  var skip: [String] = []

  @Option(help: "How results are written: human, tap, junit or json.")
  var format = Format.human

  @Option(help: "Tests that run side by side; the number of processors unless told otherwise.")
  var jobs: Int?

  @Option(help: ArgumentHelp("Where random numbers start: a number, or 'random'.", valueName: "n"))
  var seed = "1"

  @Option(
    help: "Seconds after which a test counts as hanging, not counting those without a processor.")
  var timeout = 60.0

  @Option(help: "Seconds for each fuzz test, instead of the level's.")
  var fuzzTime: Double?

  @Option(
    help: ArgumentHelp("Processes that fuzz at the same time, for each test.", valueName: "n"))
  var fuzzJobs = 1

  @Option(
    help: ArgumentHelp(
      "Where fuzzing keeps what showed something new, from run to run.", valueName: "dir"),
    completion: .directory)
  var corpusDir: String?

  @Flag(help: "Fewer rounds of everything, some seconds: level 5.")
  var quick = false

  @Option(help: ArgumentHelp("How much is done: 1 … 10, 7 unless told otherwise.", valueName: "n"))
  var level: Int?

  @Option(
    help: ArgumentHelp(
      "The file to take for the harness.toml beside the library.", valueName: "file"),
    completion: .file())
  var config: String?

  @Flag(help: "Take no notice of the harness.toml beside the library.")
  var noConfig = false

  @Option(help: ArgumentHelp("Repeat the run with this many seeds.", valueName: "n"))
  var seeds: Int?

  @Flag(help: "Fail for a test that could have run and had not what it needs.")
  var strict = false

  @Flag(help: "Run everything in this process, for a debugger.")
  var inProcess = false

  @Flag(help: "Run what needs a failed test, too.")
  var keepGoing = false

  @Option(help: ArgumentHelp("An option of the backend for all tests.", valueName: "key=value"))
  var option: [String] = []

  @Option(
    help: ArgumentHelp("Where other backends are looked for first.", valueName: "dir"),
    completion: .directory)
  var pluginDir: [String] = []

  @Option(
    help: ArgumentHelp("Recorded payloads and earlier libraries.", valueName: "dir"),
    completion: .directory)
  var golden: String?

  @Flag(help: "Record payloads of this version into the folder of --golden.")
  var record = false

  @Option(
    help: ArgumentHelp(
      "A guest's memory, raw: its pages for those that are made up to look like it.",
      valueName: "file"), completion: .file())
  var corpus: String?

  @Option(
    help: ArgumentHelp("Where cases that fuzzing finds are written.", valueName: "dir"),
    completion: .directory)
  var artifacts = "."

  @Option(
    help: ArgumentHelp("Try a case again that fuzzing has found.", valueName: "case"),
    completion: .file())
  var replay: String?

  @Option(
    help: ArgumentHelp("Say what one payload decodes to, and run nothing.", valueName: "file"),
    completion: .file())
  var decode: String?

  @Option(help: ArgumentHelp("Pages that the payload of --decode is for.", valueName: "n"))
  var pages = 128

  @Option(
    help: ArgumentHelp("Fail if slower than in this report (--format json).", valueName: "file"),
    completion: .file())
  var baseline: String?

  @Option(
    help: ArgumentHelp("Write which bytes were tried, and what came of it.", valueName: "file"),
    completion: .file())
  var certificate: String?

  @Option(
    help: ArgumentHelp(
      "Write every callback with its times and sizes, for Perfetto or chrome://tracing.",
      valueName: "file"), completion: .file())
  var trace: String?

  @Option(
    help: ArgumentHelp("Draw the rates on links into a file.", valueName: "file"),
    completion: .file())
  var svg: String?

  func run() throws {
    if list { return try printList() }
    let settings = try settings()
    if settings.decode != nil { return try printDecoding(settings) }
    let report: RunReport
    do throws(HarnessFault) {
      report = try certified(settings, perform)
    } catch {
      try end(error)
    }
    KeptFailures(settings).update(report)
    switch format {
    case .human: put(HumanFormat(colours: isatty(1) != 0).tail(report))
    case .tap: put(TAPFormat.text(report))
    case .junit: put(JUnitFormat.text(report))
    case .json: put(JSONFormat.text(report))
    }
    if let svg { try draw(report, svg) }
    throw ExitCode(report.exitCode)
  }

  private func end(_ fault: HarnessFault) throws -> Never {
    if fault.isUsage { throw ValidationError(fault.description) }
    complain("harness: \(fault.description)")
    throw ExitCode(70)
  }

  private func printDecoding(_ settings: HarnessSettings) throws {
    var harness = Harness(settings)
    let outcome: Decoding.Outcome
    do throws(HarnessFault) { outcome = try harness.decode() } catch { try end(error) }
    for line in outcome.lines { put(line + "\n") }
    for breach in outcome.breaches { put("breach: \(breach)\n") }
    throw ExitCode(outcome.isGood ? 0 : 1)
  }

  /// The run, for each of its seeds. People see the tests of the first, and what fails later.
  private func perform(_ settings: HarnessSettings) throws(HarnessFault) -> RunReport {
    guard format == .human else { return try Seeds.run(settings) { _ in { _ in } } }
    let printer = Printer(HumanFormat(colours: isatty(1) != 0 && getenv("NO_COLOR") == nil))
    return try Seeds.run(settings) { run in
      { event in
        guard run.seed == settings.seed else { return }
        printer.begin(run)
        if case .finished(let result) = event { printer.say(printer.format.line(result)) }
      }
    } ended: { report in
      if report.seeds.count > 1 { printer.say(printer.format.again(report)) }
    }
  }

  /// Holds the format, which changes as lines are written.
  private final class Printer {
    var format: HumanFormat
    private var hasBegun = false
    init(_ format: HumanFormat) { self.format = format }
    /// With the first test: a run that is refused has nothing above its error.
    func begin(_ settings: HarnessSettings) {
      if !hasBegun { say(format.head(settings)) }
      hasBegun = true
    }
    func say(_ text: String) { put(text) }
  }

  private func draw(_ report: RunReport, _ path: String) throws {
    guard let picture = LinkChart.svg(report) else {
      complain("no picture: perf/links has not been run")
      return
    }
    guard let file = fopen(path, "w") else { throw ValidationError("cannot write \(path)") }
    fputs(picture, file)
    fclose(file)
  }

  private func printList() throws {
    let skip = try patterns(skip), only = try patterns(only)
    let tests = Catalogue.all.filter { test in
      (only.isEmpty || only.contains { $0.matches(test) }) && !skip.contains { $0.matches(test) }
    }
    if format == .json {
      put(JSONFormat.catalogue(tests))
      return
    }
    let width = tests.map(\.id.count).max() ?? 0
    for test in tests {
      put(test.id + String(repeating: " ", count: width - test.id.count + 2) + test.summary + "\n")
    }
  }
}

private func complain(_ text: String) { put("multifd-harness: \(text)\n", to: 2) }

/// Writes text to a descriptor, at once.
private func put(_ text: String, to descriptor: Int32 = 1) {
  var bytes = Array(text.utf8)[...]
  while !bytes.isEmpty {
    // write() is told the buffer's size.
    let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return }
    bytes = bytes.dropFirst(count)
  }
}

@main
enum Main {
  static func main() {
    // Before anything is opened that a child would take for its output.
    if clinux_fill_standard_files() != 0 { exit(70) }
    // Inherited as "ignored" it would take away how a child ended.
    signal(SIGCHLD, SIG_DFL)
    ChildProcess.runIfAsked()
    do {
      let command = try HarnessCommand.parse()
      try command.run()
    } catch let code as ExitCode {
      exit(code.rawValue)
    } catch {
      HarnessCommand.exit(withError: error)
    }
  }
}
