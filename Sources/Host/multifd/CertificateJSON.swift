import Certificates

/// What `plugins show` tells of the run of `multifd-harness` that a library has behind it.
struct CertificateJSON: Encodable {
  /// `none`, `matching`, `stale` (of another file of this name) or `unreadable`.
  let state: String
  /// Of the harness.
  let harness: String?
  /// When the run ended, RFC 3339.
  let date: String?
  /// 1…10.
  let level: Int?
  /// What `--corpus` named, with the SHA-256 of the whole file; nothing for made-up pages.
  let corpus: Corpus?
  /// Tests that passed.
  let passed: Int?
  /// Tests that failed.
  let failed: Int?
  /// Tests that were not run, or were switched off.
  let skipped: Int?
  /// One line for people.
  let text: String

  struct Corpus: Encodable {
    let file: String
    let sha256: String
    /// Of 4 KiB.
    let pages: Int

    init(_ corpus: Certificate.Corpus) {
      (file, sha256, pages) = (corpus.file, corpus.bytes.sha256, corpus.pages)
    }
  }

  /// What is beside the library at `path`.
  init(beside path: String) {
    var certificate: Certificate?
    switch Certificate.read(beside: path) {
    case .none: (state, text) = ("none", "no certificate of multifd-harness beside it")
    case .unreadable(let why): (state, text) = ("unreadable", why)
    case .matching(let found):
      certificate = found
      (state, text) = ("matching", Self.text(found))
    case .stale(let found):
      certificate = found
      (state, text) = ("stale", "other bytes of this name were: \(Self.text(found))")
    }
    harness = certificate?.harness
    date = certificate?.date
    level = certificate?.level
    corpus = certificate?.corpus.map(Corpus.init)
    passed = certificate?.count("passed")
    failed = certificate?.count("failed")
    skipped = certificate?.notRun
  }

  private static func text(_ found: Certificate) -> String {
    let corpus = found.corpus.map {
      ", \($0.pages) pages of \($0.file) (sha256 \($0.bytes.sha256.prefix(12))…)"
    }
    return "level \(found.level)\(found.isStrict ? ", strict" : "")\(corpus ?? ""), "
      + "multifd-harness \(found.harness), "
      + "\(found.date): \(found.count("passed")) passed, \(found.count("failed")) failed, "
      + "\(found.notRun) not run"
  }
}
