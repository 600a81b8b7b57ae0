import ArgumentParser
import Foundation
import TestSupport

struct MutateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mutate",
    abstract: "Decodes seeded mutations of the recorded streams and of a link's frames.")

  @Option(help: "Mutations of each file.")
  var count: UInt64 = 100_000

  @Option(
    help: "The seed; the mutations of a file depend on it, the file's name and their number alone.")
  var seed: UInt64 = 1

  @Option(help: "The number of the first mutation.")
  var first: UInt64 = 0

  @Option(help: "Only files whose name contains this text.")
  var only: String?

  @Option(help: "Files at a time.")
  var threads = 2

  @Option(help: "MiB of address space beyond what is used before the first mutation.")
  var memory: UInt64 = 64

  @Option(help: "Seconds that one mutation may take.")
  var patience = 20

  func run() throws {
    let files = Fixtures.sessions.flatMap { session in
      session.sourceFiles.map { (session, $0, $0 == session.main ? Kind.main : .channel) }
        + (session.returnPath.map { [(session, $0, .returnPath)] } ?? [])
    }
    let recorded = try files.map { session, file, kind in
      Input(
        name: "\(session.name)/\(file.lastPathComponent)", kind: kind,
        framed: session.version == "111", bytes: try Fixtures.bytes(file))
    }
    let inputs = (recorded + Input.link).filter { only == nil || $0.name.contains(only!) }
    guard !inputs.isEmpty else { throw ValidationError("no file is called so") }
    say("multifd-fuzz: \(inputs.count) files, \(count) mutations each, seed \(seed)")
    let guardrail = Guardrail(threads: max(1, threads), seed: seed)
    try guardrail.limitMemory(to: memory << 20)
    guardrail.watch(patience: patience)
    let queue = Work(inputs)
    DispatchQueue.concurrentPerform(iterations: max(1, threads)) { thread in
      while let input = queue.next() {
        let report = Fuzzer(input: input, seed: seed, guardrail: guardrail, thread: thread)
          .run(first: first, count: count)
        queue.finished(report)
        say("\(report)")
      }
    }
    say(queue.summary)
  }
}

/// A line on standard output, at once: what was printed survives a crash.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

/// The files that are still to do, and what came of the others.
final class Work: @unchecked Sendable {
  // Every access holds the lock.
  private let lock = NSLock()
  private var inputs: [Input]
  private var total = Report(name: "all files")

  init(_ inputs: [Input]) {
    // The long ones first, so that the threads end together.
    self.inputs = inputs.sorted { $0.cost < $1.cost }
  }

  func next() -> Input? { lock.withLock { inputs.popLast() } }
  func finished(_ report: Report) { lock.withLock { total.add(report) } }
  var summary: String { lock.withLock { "\(total)" } }
}
