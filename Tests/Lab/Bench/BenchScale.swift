import ArgumentParser
import Results
import TestSupport

/// What grows with a guest's memory and with the number of channels.
struct BenchScale: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scale",
    abstract: "Measures what grows with a guest's memory and with the number of channels.",
    discussion: """
      In memory alone: what a checkpoint's stage takes for guests of up to 1 TiB, and what recording costs with up to \
      64 threads. With stock QEMUs: guests that have nearly nothing in their memory, moved into a store, and protected \
      while they are idle. Prints tables, as docs/scale.md has them. Five minutes on two cores.
      """)

  /// What there is to measure.
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case stage, recording, receive, checkpoint
  }

  @Option(help: "Only these parts.")
  var parts = List<Part>(Part.allCases)

  @Option(help: "MiB of memory of the guests in stock QEMUs.")
  var memory = List<Int>([256, 1024, 4096, 16384])

  @Option(help: "multifd channels, and threads that record.")
  var channels = List<Int>([1, 4, 16, 64])

  @Option(help: "Rounds; of idle guests ten checkpoints each.")
  var rounds = 3

  @Option(help: "The stock QEMU.")
  var qemu: QEMUVersion = .v111

  func validate() throws {
    for mebibytes in memory.elements where !(256...16384).contains(mebibytes) {
      throw ValidationError("--memory: 256 to 16384.")
    }
    for count in channels.elements where !(1...64).contains(count) {
      throw ValidationError("--channels: 1 to 64.")
    }
    guard (1...100).contains(rounds) else { throw ValidationError("--rounds: 1 to 100.") }
  }

  func run() throws {
    for part in parts.elements {
      let share = Machine.othersShare()
      note("\(part.rawValue): others have \(Int(share * 100)) % of the processors' time")
      for section in try sections(of: part) { say(section.markdown(pictures: ".") + "\n") }
    }
  }

  private func sections(of part: Part) throws -> [Section] {
    switch part {
    case .stage: return [try StageScale.run()]
    case .recording: return [try RecordingScale.run(threads: channels.elements, rounds: rounds)]
    case .receive, .checkpoint:
      if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
      guard qemu.isAvailableElseAnnounce("bench scale, QEMU \(qemu)") else { throw ExitCode(1) }
      let guests = IdleGuests(qemu, rounds: rounds)
      return part == .receive
        ? [try guests.receive(memory: memory.elements, channels: channels.elements)]
        : [try guests.checkpoint(memory: memory.elements, channels: channels.elements)]
    }
  }
}
