import Certificates
import Foundation
import Testing
import TestSupport

/// What is written is read again, and only beside the bytes that it is about.
@Suite struct CertificateTests {
  private func certificate(
    _ library: Fingerprint, corpus: Certificate.Corpus? = nil
  ) -> Certificate {
    Certificate(
      harness: "1.2.3", file: "libmultifd-x.so", library: library, name: "x", version: "4",
      wireFormat: "x/1", date: "2026-01-31T23:59:59Z",
      machine: Machine(processor: "a \"fast\" one", processors: 2, kernel: "Linux", libc: "glibc"),
      level: 8, isStrict: true, seeds: [1, .max], options: ["level=9"],
      corpus: corpus,
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

  @Test("pages of a guest are told, and an older certificate says nothing of them")
  func corpus() throws {
    let library = Fingerprint(sha256: String(repeating: "0", count: 64), size: 7)
    let pages = Certificate.Corpus(
      file: "guest.ram", bytes: Fingerprint(sha256: String(repeating: "a", count: 64), size: 20000))
    #expect(pages.pages == 4)
    let none = certificate(library), one = certificate(library, corpus: pages)
    #expect(none != one && none.corpus == nil)
    #expect(Certificate(parsing: Array(one.json.utf8)) == one)
    // As it was written before there was such a member.
    let older = none.json.replacingOccurrences(of: "  \"corpus\": null,\n", with: "")
    #expect(older != none.json && Certificate(parsing: Array(older.utf8)) == none)
    // One that is there says which bytes.
    for (text, other) in [
      ("\"guest.ram\"", "7"), ("aaaaaaaa", ""), ("20000", "-1"), ("20000", "\"many\""),
    ] {
      let wrong = one.json.replacingOccurrences(of: text, with: other)
      #expect(wrong != one.json && Certificate(parsing: Array(wrong.utf8)) == nil, "\(text)")
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
