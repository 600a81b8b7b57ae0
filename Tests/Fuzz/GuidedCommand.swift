import ArgumentParser
import Foundation

/// libFuzzer over one target.
struct GuidedCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "guided",
    abstract: "Runs libFuzzer over a parser or a whole session, in a build that `make fuzz` makes.")

  @Argument(help: "\(GuidedTarget.allCases.map(\.rawValue).joined(separator: ", ")).")
  var target: GuidedTarget

  @Option(help: "The folder of what has been found to be of interest; begun with what is valid.")
  var corpus: String

  @Option(help: "Seconds.")
  var time = 60

  @Option(help: "Runs these bytes only: a crash- file of a run before.")
  var file: String?

  func run() throws {
    // The runtime is linked in by `make fuzz`, and this program finds it in itself.
    guard let symbol = dlsym(nil, "LLVMFuzzerRunDriver") else {
      throw ValidationError("this build has no libFuzzer in it: make fuzz")
    }
    try FileManager.default.createDirectory(atPath: corpus, withIntermediateDirectories: true)
    for (name, bytes) in try target.seeds() {
      try Data(bytes).write(to: URL(filePath: "\(corpus)/valid-\(name)"))
    }
    var arguments = [
      "multifd-fuzz", "-timeout=30", "-rss_limit_mb=2048", "-malloc_limit_mb=256",
      "-max_len=\(target.longest)", "-print_final_stats=1", "-verbosity=1",
      "-artifact_prefix=\(corpus)/",
    ]
    arguments += file.map { ["-runs=1", $0] } ?? ["-max_total_time=\(time)", corpus]
    Self.check = target.check
    typealias Driver =
      @convention(c) (
        UnsafeMutablePointer<Int32>,
        UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
        @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
      ) -> Int32
    // The type that LLVM's documentation gives it.
    let drive = unsafeBitCast(symbol, to: Driver.self)
    // As main() is given them; kept for as long as the process lasts.
    let values = UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>.allocate(
      capacity: arguments.count + 1)
    _ = values.initialize(from: arguments.map { strdup($0) } + [nil])
    var (count, start) = (Int32(arguments.count), values.baseAddress)
    let status = drive(&count, &start) { bytes, count in
      // libFuzzer's own copy, which lasts as long as the call.
      GuidedCommand.check(UnsafeRawBufferPointer(start: bytes, count: count))
      return 0
    }
    throw ExitCode(status)
  }

  /// For a callback that can capture nothing: set once, before the first call.
  nonisolated(unsafe) private static var check: (UnsafeRawBufferPointer) -> Void = { _ in }
}

/// Says what must never be, which ends the process: libFuzzer keeps the bytes.
func breach(_ what: String) -> Never {
  fatalError("what must never be: \(what)")
}
