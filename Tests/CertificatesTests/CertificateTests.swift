import Certificates
import Foundation
import Testing
import TestSupport

/// What is written is read again, and only beside the bytes that it is about.
@Suite struct CertificateTests {
  private func certificate(_ library: Fingerprint) -> Certificate {
    Certificate(
      harness: "1.2.3", file: "libmultifd-x.so", library: library, name: "x", version: "4",
      wireFormat: "x/1", date: "2026-01-31T23:59:59Z",
      machine: Machine(processor: "a \"fast\" one", processors: 2, kernel: "Linux", libc: "glibc"),
      level: 8, isStrict: true, seeds: [1, .max], options: ["level=9"],
      results: [
        .init(test: "load/opens", outcome: "passed", reason: ""),
        .init(test: "fuzz/decode", outcome: "off", reason: "a night's work"),
      ])
  }

  @Test("the file says all that there is to say")
  func roundtrip() throws {
    let one = certificate(Fingerprint(sha256: String(repeating: "0", count: 64), size: 7))
    #expect(Certificate(parsing: Array(one.json.utf8)) == one)
    #expect(one.isGood && one.count("off") == 1)
    // Every member is missed, and another format is another matter.
    for key in ["harness", "sha256", "machine", "processor", "level", "results", "outcome", "size"]
    {
      let other = one.json.replacingOccurrences(of: "\"\(key)\"", with: "\"other\"")
      #expect(Certificate(parsing: Array(other.utf8)) == nil, "\(key)")
    }
    let later = one.json.replacingOccurrences(
      of: "\"multifd_certificate\": 1", with: "\"multifd_certificate\": 2")
    #expect(Certificate(parsing: Array(later.utf8)) == nil)
    for count in stride(from: 0, to: one.json.utf8.count - 2, by: 7) {
      #expect(Certificate(parsing: Array(one.json.utf8.prefix(count))) == nil)
    }
  }

  @Test("a certificate counts for the bytes that it names")
  func beside() throws {
    let folder = try TemporaryFolder()
    let library = folder("libmultifd-x.so"), file = folder("libmultifd-x.certificate.json")
    try Data("bytes".utf8).write(to: URL(filePath: library))
    #expect(Certificate.path(beside: library) == file)
    #expect(Certificate.read(beside: library) == .none)
    let one = certificate(try #require(Fingerprint(of: library)))
    try Data(one.json.utf8).write(to: URL(filePath: file))
    #expect(Certificate.read(beside: library) == .matching(one))
    try Data("bytez".utf8).write(to: URL(filePath: library))
    #expect(Certificate.read(beside: library) == .stale(one))
    try Data("{}".utf8).write(to: URL(filePath: file))
    guard case .unreadable = Certificate.read(beside: library) else {
      Issue.record("a file that is no certificate is taken for one")
      return
    }
  }

  @Test("what it says fits a terminal")
  func clean() throws {
    let one = certificate(Fingerprint(sha256: String(repeating: "0", count: 64), size: 7))
    let evil = one.json.replacingOccurrences(of: "\"1.2.3\"", with: "\"\\u001b[2J\\n\\u009b1\"")
    let read = try #require(Certificate(parsing: Array(evil.utf8)))
    #expect(read.harness == " [2J  1")
  }
}
