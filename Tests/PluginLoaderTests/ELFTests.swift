import Foundation
import Glibc
import PluginLoader
import Testing

/// Files that are no library of this machine: each is called what it is, and no process is started
/// for it.
@Suite("Files that are no library", .compiler)
struct ELFTests {
  let folder: TestFolder
  let path: String
  /// A library that can be used.
  let good: [UInt8]

  init() throws {
    folder = try TestFolder()
    path = try Compiler.plugin(in: folder.path)
    good = Array(try Data(contentsOf: URL(filePath: path)))
  }

  /// What is said of a file of these bytes, by a loader that can start nothing.
  private func why(_ bytes: some Collection<UInt8>) throws -> String {
    try Data(bytes).write(to: URL(filePath: path))
    let error = try #require(loadError(loader(folder.path, program: "/no/such/program")))
    #expect(error.what == path && !error.why.contains(folder.path))
    if error.why.contains("/no/such/program") { return "" }
    #expect(error.kind == .refused)
    return error.why
  }

  private func why(_ changes: [Int: UInt8]) throws -> String {
    var bytes = good
    for (offset, byte) in changes { bytes[offset] = byte }
    return try why(bytes)
  }

  @Test("what is no ELF file")
  func other() throws {
    #expect(try why([]) == "is empty")
    let script = String(repeating: "#!/bin/sh\nexit 0\n", count: 100)
    #expect(try why(script.utf8) == "is no ELF file, and so no library")
    #expect(try why(good.prefix(3)) == "is no ELF file, and so no library")
    #expect(try why([4: 9]) == "has an ELF header that makes no sense")
    #expect(try why([5: 0]) == "has an ELF header that makes no sense")
  }

  @Test("what is for another machine")
  func machines() throws {
    let names: [UInt8: String] = [62: "x86_64", 183: "aarch64", 243: "riscv64"]
    let host = try #require(names[good[18]])
    for (number, name) in names where name != host {
      let why = try why([18: number])
      #expect(why == "is an ELF library for \(name), this host is \(host)")
    }
    #expect(try why([18: 3, 4: 1]) == "is an ELF library for i386, this host is \(host)")
    #expect(
      try why([16: 0, 17: 3, 18: 0, 19: 22, 5: 2])
        == "is an ELF library for s390x, this host is \(host)")
    #expect(
      try why([18: 99, 16: 2])
        == "is an ELF program for machine 99 (64 bits, little-endian), this host is \(host)")
    // The same machine, but not in this way.
    let big = try why([18: good[19], 19: good[18], 16: 0, 17: 3, 5: 2])
    #expect(big.hasPrefix("is an ELF library for ") && big.hasSuffix(", this host is \(host)"))
  }

  @Test("what is of another kind")
  func kinds() throws {
    #expect(try why([16: 1]) == "is an ELF object file, not a library")
    #expect(try why([16: 2]) == "is an ELF program, not a library")
    #expect(try why([16: 4]) == "is an ELF core dump, not a library")
  }

  @Test("what is not whole, wherever it ends")
  func torn() throws {
    for length in [4, 19, 20, 63] {
      #expect(try why(good.prefix(length)) == "is cut off within its ELF header")
    }
    // The program headers follow at once.
    #expect(try why(good.prefix(100)).hasPrefix("is cut off: it has 100 of at least "))
    let half = try why(good.prefix(good.count / 2))
    #expect(half.hasPrefix("is cut off: it has \(good.count / 2) of at least "), "\(half)")
    // Headers beyond any file.
    #expect(try why([39: 0x7f]).hasPrefix("is cut off: "))
    #expect(try why([39: 0xff, 38: 0xff]).hasPrefix("is cut off: "))
  }

  @Test("what is a library is tried")
  func whole() throws {
    #expect(try why(good) == "")
    // The table of sections is of no use to whoever opens it.
    #expect(try why(good + [0]) == "")
  }

  @Test("whatever is in the header, the host goes on")
  func spoilt() throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        bytes[Int.random(in: 4..<400, using: &random)] = .random(in: 0...255, using: &random)
      }
      _ = try why(bytes)
    }
  }
}
