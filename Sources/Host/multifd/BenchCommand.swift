import ArgumentParser
import Chart
import Foundation
import Migration
import Roles
import Store
import System

/// `multifd bench`.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure, next to stock QEMU on this machine.",
    subcommands: [Checkpoint.self])

  /// `multifd bench checkpoint`.
  struct Checkpoint: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "checkpoint",
      abstract: "What COLO checkpoints cost a guest: with our standby, and with a stock secondary.",
      usage: """
        multifd bench checkpoint --primary QEMU [--secondary QEMU] [OPTIONS] [-- ARGS…]
        """,
      discussion: """
        Starts a stock primary with a guest that does nothing but rewrite text-like pages, protects it, takes \
        checkpoints, and prints how long the guest stood still (pause), how long its memory and devices took \
        (transfer; ours includes the commit), and the commit (of a stock secondary: the load). ARGS are those of a guest of your own instead. Everything \
        runs on this machine, over loopback. Exit code 1 when a row could not be measured.
        """)

    @Option(help: "The primary: qemu-system-x86_64, its path, or a command that runs it.")
    var primary: String

    @Option(help: "A stock secondary to compare with; default: none.")
    var secondary: String?

    @Option(help: "multifd channels, a row each; 0 is without multifd.")
    var channels = NumberList([0, 4])

    @Option(help: "MiB/s that the guest rewrites, a row each.")
    var load = NumberList([0, 32])

    @Option(help: "QEMU's multifd-compression: none, zlib, zstd.")
    var compression = "none"

    @Option(help: "QEMU's x-checkpoint-delay in ms.")
    var delay = 600

    @Option(help: "Checkpoints of each row.")
    var checkpoints = 100

    @Option(help: "Our standby's cache: sparse or mirror.")
    var cache: Manifest.Cache = .sparse

    @Option(help: "MiB of RAM of the guest.")
    var memory = 512

    @Option(help: "MiB that the guest goes round in, rewriting.")
    var workingSet = 64

    @Option(help: "QEMU's -accel for that guest; the first that works.")
    var accel = "kvm:tcg"

    @Option(help: "Seconds that a guest of your own gets to boot.")
    var settle = 10.0

    @Option(
      help: ArgumentHelp("Where our store is made: a tmpfs.", valueName: "dir"),
      completion: .directory)
    var folder = "/dev/shm"

    @Option(help: "Seconds of silence after which a row is given up.")
    var timeout = 30.0

    @Flag(help: "Print JSON.")
    var json = false

    @Option(
      help: ArgumentHelp("Draw the pauses into a file.", valueName: "file"), completion: .file())
    var svg: String?

    @OptionGroup var plugins: PluginOptions

    @Argument(
      parsing: .postTerminator,
      help: ArgumentHelp("The QEMU arguments of a guest of your own, after --.", valueName: "args"))
    var guest: [String] = []

    func validate() throws {
      guard channels.numbers.allSatisfy({ (0...255).contains($0) }) else {
        throw ValidationError("--channels: 0 to 255")
      }
      guard load.numbers.allSatisfy({ (0...100_000).contains($0) }) else {
        throw ValidationError("--load: 0 to 100000 MiB/s")
      }
      guard ["none", "zlib", "zstd"].contains(compression) else {
        throw ValidationError("--compression: none, zlib or zstd")
      }
      guard (1...3_600_000).contains(delay), (1...1_000_000).contains(checkpoints) else {
        throw ValidationError("--delay and --checkpoints are positive numbers")
      }
      guard workingSet > 0, memory <= 3072, memory >= workingSet + 32 else {
        throw ValidationError("--memory: at least 32 MiB more than --working-set, at most 3072")
      }
      guard timeout.isTimeOut, settle >= 0, settle <= 3600 else {
        throw ValidationError("--timeout and --settle are numbers of seconds")
      }
      guard !primary.isEmpty, secondary != "" else {
        throw ValidationError("which QEMU? --primary qemu-system-x86_64")
      }
    }

    func run() throws {
      let bench = CheckpointBench(options, loader: plugins.loader, log: Console.note)
      Signals.watch(bench.cancel)
      let table = try bench.run()
      if json { Console.json(table) } else { print(CheckpointTableText.text(table)) }
      if let svg {
        do {
          try CheckpointTableText.chart(table).svg.write(
            toFile: svg, atomically: true, encoding: .utf8)
        } catch { throw Failure(.failed, "bench", "cannot write \(svg)") }
      }
      if table.rows.contains(where: { $0.failure != nil }) { throw ExitCode(1) }
    }

    private var options: CheckpointBenchOptions {
      func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
      var options = CheckpointBenchOptions(primary: words(primary))
      options.secondary = secondary.map(words)
      options.guest = guest
      options.settle = settle
      options.accelerators = accel.split(separator: ":").map(String.init)
      options.memory = memory
      options.workingSet = workingSet
      options.loads = load.numbers
      options.channels = channels.numbers
      options.compression = compression
      options.delay = delay
      options.checkpoints = checkpoints
      options.cache = cache
      options.folder = folder
      options.timeout = timeout
      return options
    }
  }
}

/// Numbers with commas in between, as options take them.
struct NumberList: ExpressibleByArgument {
  let numbers: [Int]

  init(_ numbers: [Int]) { self.numbers = numbers }

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    numbers = words.compactMap { Int($0) }
    guard numbers.count == words.count else { return nil }
  }

  var defaultValueDescription: String { numbers.map(String.init).joined(separator: ",") }
}
