import Foundation
import Testing
import TestSupport

/// What a run would prove nothing with is refused before it starts.
@Suite(.serialized, .needsCompiler) struct UsageTests: RunsCommand {
  @Test(
    "options that the host refuses end a run, with the host's words",
    arguments: [
      (["nosuch=1"], "there is no such option; good has level"),
      (["levle=1"], "did you mean level?"), (["level=fast"], "must be an integer 0…9"),
      (["level=10"], "must be 0…9, not '10'"), (["level=1", "level=1"], "is set twice"),
    ])
  func options(given: [String], words: String) throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    for more in [[], ["--in-process"], ["--format", "json"]] {
      let run = try run(
        [good, "--only", "load/opens"] + more + given.flatMap { ["--option", $0] })
      #expect(run.code == 64 && run.output.isEmpty, "\(run)")
      #expect(run.errors.contains(words), "\(run.errors)")
    }
  }

  @Test("options that the host takes are no hindrance, nor is a backend that cannot be asked")
  func fine() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let option = ["--option", "level=9", "--only", "load"]
    #expect(try run([good] + option).code == 0)
    // The tests say what is wrong with it; the run is not green.
    let crash = try Compiler.compile("crash-on-load", in: folder.path)
    #expect(try run([crash] + option).code == 2)
  }

  @Test("files and folders that are not there are errors")
  func missing() throws {
    let folder = try TemporaryFolder()
    let good = try Compiler.compile("good", in: folder.path)
    let nowhere = folder("nowhere")
    for option in ["--golden", "--plugin-dir", "--artifacts", "--baseline", "--replay"] {
      let run = try run([good, "--only", "load", option, nowhere])
      #expect(run.code == 64 && run.errors.contains(nowhere), "\(option): \(run)")
    }
    #expect(!FileManager.default.fileExists(atPath: nowhere))
    // Only what is to be written into is made.
    let record = try run([good, "--only", "golden", "--golden", nowhere, "--record"])
    #expect(record.code == 0 && FileManager.default.fileExists(atPath: nowhere), "\(record)")
  }
}
