import Certificates

/// What is said of a backend in the file beside it.
enum CertificateSeed {
  static var bytes: [UInt8] {
    let certificate = Certificate(
      harness: "0.1.0", file: "libmultifd-x.so",
      library: Fingerprint(sha256: String(repeating: "a1", count: 32), size: 4711), name: "x",
      version: "1.2", wireFormat: "x-words/1", date: Certificate.now(),
      machine: Machine(processor: "cpu", processors: 2, kernel: "6.1", libc: "2.36"), level: 7,
      isStrict: true, seeds: [1, 2], options: ["level=3"],
      results: [.init(test: "load/opens", outcome: "passed", reason: "")])
    return Array(certificate.json.utf8)
  }

  static func check(_ all: UnsafeRawBufferPointer) {
    guard let certificate = Certificate(parsing: Array(all)) else { return }
    guard let again = Certificate(parsing: Array(certificate.json.utf8)) else {
      breach("what was read is not read again")
    }
    if again != certificate { breach("what was read is read as another") }
  }
}
