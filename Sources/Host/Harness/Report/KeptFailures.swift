import Glibc

/// What has failed, kept beside the artifacts from one run to the next, so that an author who mends
/// one thing need not wait for all the others.
public struct KeptFailures {
  private let folder: String
  private let path: String

  /// Those of a library, in a folder of artifacts.
  public init(_ settings: HarnessSettings) {
    folder = settings.artifacts + "/.multifd-harness"
    path =
      folder + "/" + (settings.path.split(separator: "/").last.map(String.init) ?? "") + ".failed"
  }

  /// The tests that failed when they were last run; empty when none did, or none has been run.
  public var tests: [String] {
    let text = readFile(path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    let kept = Set(text.split(separator: "\n").map(String.init))
    return Catalogue.all.map(\.id).filter { kept.contains($0) }
  }

  /// Takes what a run has found: a test that was not in it stays as it was. Without anything to
  /// keep there is no file. A folder that cannot be written is no reason for a run to fail.
  public func update(_ report: RunReport) {
    let run = Set(report.results.map(\.test.id))
    var kept = Set(tests).subtracting(run)
    for result in report.failures {
      kept.insert(result.test.id)
      // A breach shows where it was seen, whosever rule it breaks.
      kept.formUnion(result.findings.map(\.seenIn))
    }
    guard !kept.isEmpty else {
      unlink(path)
      rmdir(folder)
      return
    }
    mkdir(folder, 0o777)
    let text = Catalogue.all.map(\.id).filter { kept.contains($0) }.map { $0 + "\n" }.joined()
    _ = Array(text.utf8).withUnsafeBytes { writeFile(path, $0) }
  }
}
