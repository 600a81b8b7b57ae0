import Foundation
import Results
import TestSupport

/// Measures backends by themselves, for the page: the harness does it.
struct CodecPart {
  private let plan: BenchPlan
  private let backends: BenchBackends
  private let corpus: String?

  /// Pages of the harness's own making, by its names of them.
  private static let contents = ["sparse", "text", "ram", "random"]

  /// - Parameter corpus: a raw image of memory, or a store; nil: none.
  init(_ plan: BenchPlan, _ backends: BenchBackends, corpus: String?) throws {
    (self.plan, self.backends) = (plan, backends)
    self.corpus = try corpus.map(Self.image)
  }

  /// The file that a corpus is: of a store its largest RAM block.
  static func image(_ path: String) throws -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw LabError("--corpus \(path): there is nothing there")
    }
    guard isFolder.boolValue else { return path }
    let folder = path + "/ram"
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    let largest = files.map { folder + "/" + $0 }.max { size(of: $0) < size(of: $1) }
    guard let largest else {
      throw LabError("--corpus \(path): a folder, and no store with a guest")
    }
    return largest
  }

  private static func size(of path: String) -> Int {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : 0
  }

  func run() throws -> CodecResult {
    let contents = Self.contents + (corpus == nil ? [] : ["corpus"])
    var rows = contents.flatMap { content in
      backends.all.map { CodecResult.Row(content: content, backend: $0.name) }
    }
    var rounds = Rounds(seconds: plan.codecSeconds, most: plan.rounds)
    while rounds.next() {
      note("codecs: round \(rounds.number)")
      for backend in backends.all {
        let made = try measure(backend, [])
        let real = try corpus.map { try measure(backend, ["--corpus", $0]) }
        for index in rows.indices where rows[index].backend == backend.name {
          // What the harness makes of a corpus are its pages like a system's.
          let isReal = rows[index].content == "corpus"
          rows[index].add(isReal ? real ?? .null : made, isReal ? "ram" : rows[index].content)
        }
      }
    }
    return CodecResult(
      rows, reference: "zlib", corpus: corpus.map { ($0 as NSString).lastPathComponent })
  }

  /// The harness's figures of one backend.
  private func measure(_ backend: BenchBackends.Backend, _ more: [String]) throws -> JSON {
    let words = [
      Lab.executableFolder + "/multifd-harness", backend.path, "--only", "perf/throughput",
      "--no-config", "--format", "json",
    ]
    let harness = try ChildProcess(words + (plan.codecsInFull ? [] : ["--quick"]) + more)
    guard harness.wait(.seconds(120)) == .code(0) else {
      throw LabError("multifd-harness on \(backend.name): \(harness.errors.text.suffix(300))")
    }
    return try JSON(parsing: harness.output.text.utf8)["results"][0]["metrics"]
  }
}

extension CodecResult.Row {
  fileprivate mutating func add(_ metrics: JSON, _ content: String) {
    func value(_ name: String) -> Double { metrics["\(name).\(content)"]["value"].double ?? 0 }
    ratio.values.append(value("throughput.ratio"))
    encode.values.append(value("throughput.encode"))
    decode.values.append(value("throughput.decode"))
    encodeProcessor.values.append(value("cpu.encode"))
    decodeProcessor.values.append(value("cpu.decode"))
  }
}
