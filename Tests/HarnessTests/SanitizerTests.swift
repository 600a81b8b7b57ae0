import Foundation
import Testing
import TestSupport

/// A backend that its author has compiled for ThreadSanitizer, as the manual says: the run-time is
/// loaded into the harness, and forked with each test.
@Suite(.serialized, .needsCompiler) struct SanitizerTests: RunsCommand {
  @Test("a race of channels is told with both of its sides, and there is none in a good one")
  func race() throws {
    let asked = try start(Compiler.path ?? "cc", ["-print-file-name=libtsan.so"])
    let runtime = asked.output.trimmingCharacters(in: .whitespacesAndNewlines)
    guard runtime.hasPrefix("/") else {
      SkipReason("the C compiler has no libtsan.so").announce("a backend under ThreadSanitizer")
      return
    }
    let folder = try TemporaryFolder()
    let count = "static volatile unsigned packets; packets++"
    for (name, flags) in [("good", []), ("racy", ["-DON_PREPARE=\(count)"])] {
      let library = try Compiler.compile(
        "good", as: name, in: folder.path, flags: ["-g", "-fsanitize=thread"] + flags)
      let run = try start(
        "/usr/bin/env",
        [
          "LD_PRELOAD=\(runtime)", Run.executable, library, "--quick", "--only", "isolation",
          "--only", "lifecycle/threads", "--artifacts", folder.path,
        ])
      guard name == "racy" else {
        #expect(run.code == 0, "\(run.output)")
        continue
      }
      #expect(run.code == 1 && run.output.contains("data race"), "\(run.output)")
      #expect(run.output.contains("FAIL isolation/concurrent"), "\(run.output)")
      // This access and the one before it.
      #expect(run.output.split(separator: "send_prepare").count > 2, "\(run.output)")
    }
  }
}
