// What a run of the harness leaves beside a library: which bytes were tried, with what, and what
// came of it. It is signed by nobody. It shows that a file is the one that was tried, and what was
// left out; whoever can write the folder can write both.
//
// Certificate is the thing itself, Certificate+JSON its file, Fingerprint which bytes a library
// has, Machine where it was tried; JSONValue is what they are made of. A module of its
// own, since the harness writes what the host reads, and neither knows the other.

import Glibc

/// What became of one run over one library.
public struct Certificate: Equatable, Sendable {
  /// One test's part.
  public struct Result: Equatable, Sendable {
    /// `group/name`.
    public var test: String
    /// `passed`, `failed`, `skipped`, `off`, or `left out`.
    public var outcome: String
    /// Why it was not run, or what is wrong; empty for one that passed.
    public var reason: String

    /// A test and what became of it.
    public init(test: String, outcome: String, reason: String) {
      self.test = test
      self.outcome = outcome
      self.reason = reason
    }
  }

  /// Pages of a real guest that took the place of made-up ones.
  public struct Corpus: Equatable, Sendable {
    /// The file's name, without its folder.
    public var file: String
    /// Which bytes it had.
    public var bytes: Fingerprint
    /// How many pages of 4 KiB it holds, those in holes too.
    public var pages: Int { bytes.size / 4096 }

    /// A file of these bytes.
    public init(file: String, bytes: Fingerprint) {
      self.file = file
      self.bytes = bytes
    }

    /// The file at `path`, read to its end; nil when it cannot be.
    public init?(of path: String) {
      guard let bytes = Fingerprint(of: path) else { return nil }
      self.init(file: path.split(separator: "/").last.map(String.init) ?? "", bytes: bytes)
    }
  }

  /// The harness's version.
  public var harness: String
  /// The library's file name.
  public var file: String
  /// Which bytes it had.
  public var library: Fingerprint
  /// As the table says; empty when it could not be asked.
  public var name: String
  /// The same.
  public var version: String
  /// The same.
  public var wireFormat: String
  /// When the run ended, as RFC 3339 has it, in UTC.
  public var date: String
  /// Where.
  public var machine: Machine
  /// 1…10.
  public var level: Int
  /// Whether what could have run had to.
  public var isStrict: Bool
  /// All that were tried.
  public var seeds: [UInt64]
  /// The options that all tests were run with, as `key=value`.
  public var options: [String]
  /// What `--corpus` named; nil for a run on made-up pages, and in a certificate that was written
  /// before it was told.
  public var corpus: Corpus?
  /// Every test that the harness has.
  public var results: [Result]

  /// The number of tests of an outcome.
  public func count(_ outcome: String) -> Int { results.count { $0.outcome == outcome } }

  /// The number of tests that were not run, for whatever reason.
  public var notRun: Int { results.count - count("passed") - count("failed") }

  /// Whether anything was run, and nothing failed.
  public var isGood: Bool { count("failed") == 0 && count("passed") > 0 }

  /// Whether it is of a run after which a host can rely on the library: at least the level at which
  /// all groups are run, with the library's own defaults, of which no test failed and none was turned
  /// off or left out, but for those of speed.
  public var isReliable: Bool {
    isGood && level >= 5 && options.isEmpty
      && results.allSatisfy {
        $0.outcome == "passed" || $0.outcome == "skipped" || $0.test.hasPrefix("perf/")
      }
  }

  /// A certificate of these facts.
  public init(
    harness: String, file: String, library: Fingerprint, name: String, version: String,
    wireFormat: String, date: String, machine: Machine, level: Int, isStrict: Bool,
    seeds: [UInt64], options: [String], corpus: Corpus? = nil, results: [Result]
  ) {
    self.harness = harness
    self.file = file
    self.library = library
    self.name = name
    self.version = version
    self.wireFormat = wireFormat
    self.date = date
    self.machine = machine
    self.level = level
    self.isStrict = isStrict
    self.seeds = seeds
    self.options = options
    self.corpus = corpus
    self.results = results
  }
}

extension Certificate {
  /// What there is beside a library.
  public enum Found: Equatable, Sendable {
    /// No certificate.
    case none
    /// One of these very bytes.
    case matching(Certificate)
    /// One of another file: this one has been built, or changed, since.
    case stale(Certificate)
    /// A file of that name that is none, or a library that cannot be read.
    case unreadable(String)
  }

  /// `libmultifd-NAME.certificate.json` beside `libmultifd-NAME.so`.
  public static func path(beside library: String) -> String {
    (library.hasSuffix(".so") ? String(library.dropLast(3)) : library) + ".certificate.json"
  }

  /// The certificate of the library at `libraryPath`, held to the library's bytes. Texts are one
  /// line each and fit for a terminal.
  public static func read(beside libraryPath: String) -> Found {
    let path = path(beside: libraryPath)
    guard access(path, F_OK) == 0 else { return .none }
    guard let bytes = readCertificate(path) else { return .unreadable("\(path) cannot be read") }
    guard let certificate = Certificate(parsing: bytes) else {
      return .unreadable("\(path) is no certificate of multifd-harness")
    }
    guard let library = Fingerprint(of: libraryPath) else {
      return .unreadable("\(libraryPath) cannot be read")
    }
    return certificate.library == library ? .matching(certificate) : .stale(certificate)
  }

  /// The current time as a certificate has it: `2026-01-31T23:59:59Z`.
  public static func now() -> String {
    var seconds = time(nil), parts = tm()
    gmtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 32)
    // strftime() is told the array's size.
    let length = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A regular file of at most 4 MiB; nil for anything else.
private func readCertificate(_ path: String) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
    (0...4 << 20).contains(status.st_size)
  else { return nil }
  var bytes: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 1 << 16)
  while bytes.count <= 4 << 20 {
    // The array is alive during the call, and read() is told its size.
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return count == 0 ? bytes : nil }
    bytes += buffer[..<count]
  }
  return nil
}
