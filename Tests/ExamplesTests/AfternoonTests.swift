import Foundation
import TestSupport
import Testing

/// The whole of it in one piece, and nothing of the source tree beneath: what the other tests try
/// step by step from a build tree.
@Suite("An author's first afternoon")
struct AfternoonTests {
  /// `make afternoon` does the same with the programs as they are shipped, whose build takes
  /// minutes.
  @Test("from an installation, in a root folder that has nothing else of multifd's")
  func afternoon() throws {
    let what = "an author's first afternoon"
    try ExamplesTests.skip(if: Language.c.unavailable, what)
    for tool in ["lowdown", "jq", "strip", "ldd"] where Tool.path(tool) == nil {
      try ExamplesTests.skip(SkipReason("there is no \(tool) on PATH"), what)
    }
    try ExamplesTests.skip(if: MultiFDProcess.unavailable ?? Harness.unavailable, what)
    let folder = try TemporaryFolder()
    let root = folder("root")
    try Tool.run([
      "make", "-C", ExamplesTests.root, "install", "DESTDIR=\(root)", "PREFIX=/usr",
      "BUILD=\(Lab.executableFolder)", "PROGRAMS=\(Lab.executableFolder)", "MAN=\(folder("man"))",
    ])
    let afternoon = try ChildProcess([
      ExamplesTests.root + "/Support/afternoon", root, "--with", try Self.folderOfRuntime(),
    ])
    let exit = afternoon.wait(.seconds(300))
    afternoon.kill()
    let (said, errors) = (afternoon.output.text, afternoon.errors.text)
    if exit == .code(77) {
      try ExamplesTests.skip(
        SkipReason(errors.trimmingCharacters(in: .whitespacesAndNewlines)), what)
    }
    #expect(exit == .code(0), "\(said.suffix(4000))\n\(errors.suffix(2000))")
    #expect(said.contains(" bad=0 "), "\(said.suffix(4000))")
  }

  /// Where the Swift runtime is that programs of this build find: outside /usr perhaps.
  private static func folderOfRuntime() throws -> String {
    let needed = try Tool.run(["ldd", Lab.executableFolder + "/multifd"])
    let line = try #require(needed.firstMatch(of: /libswiftCore\.so => (\/.*)\/libswiftCore\.so/))
    return String(line.1)
  }
}
