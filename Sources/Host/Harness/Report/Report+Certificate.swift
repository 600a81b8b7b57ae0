import Certificates
import Glibc

extension RunReport {
  /// What this run says of the bytes that it tried, by a harness of that version, on the pages of
  /// `corpus` where it was given any.
  public func certificate(
    of library: Fingerprint, harness: String, corpus: Certificate.Corpus?
  ) -> Certificate {
    let byID = Dictionary(results.map { ($0.test.id, $0) }) { first, _ in first }
    return Certificate(
      harness: harness, file: settings.path.split(separator: "/").last.map(String.init) ?? "",
      library: library, name: backend?.name ?? "", version: backend?.version ?? "",
      wireFormat: backend?.wireFormat ?? "", date: Certificate.now(), machine: .here,
      level: settings.level.number, isStrict: settings.isStrict,
      seeds: seeds.isEmpty ? [settings.seed] : seeds,
      options: settings.assignments.map { "\($0.key)=\($0.value)" }, corpus: corpus,
      results: Catalogue.all.map { entry(of: $0, byID[$0.id]) })
  }

  /// A test that was not selected is there as well: what a run has left out is a part of what it
  /// says.
  private func entry(of test: TestDescription, _ result: TestResult?) -> Certificate.Result {
    func entry(_ outcome: String, _ reason: String = "") -> Certificate.Result {
      Certificate.Result(test: test.id, outcome: outcome, reason: reason)
    }
    guard let result else {
      let isLower = !settings.level.groups.contains(test.group)
      return entry(
        "left out", isLower ? "not in level \(settings.level.number)" : "not selected")
    }
    switch result.outcome {
    case .passed: return entry("passed")
    case .failed:
      return entry("failed", clean(result.findings.first?.message ?? "").replacingLineEnds)
    case .skipped(let reason): return entry("skipped", clean(reason).replacingLineEnds)
    case .off(let reason): return entry("off", clean(reason).replacingLineEnds)
    case .missed(let reason):
      return entry("skipped", "could have run: " + clean(reason).replacingLineEnds)
    }
  }
}

extension String {
  fileprivate var replacingLineEnds: String { String(map { $0 == "\n" ? " " : $0 }) }
}

extension Certificate {
  /// Writes it whole: whoever looks finds the one before or this one.
  public func write(to path: String) throws(HarnessFault) {
    let new = path + ".new"
    let isWritten = Array(json.utf8).withUnsafeBytes { writeFile(new, $0) }
    guard isWritten, rename(new, path) == 0 else {
      unlink(new)
      throw HarnessFault("--certificate \(path): cannot be written")
    }
  }
}
