import CHarness
import Foundation
import Testing
import TestSupport

/// The process that the tests' processes are forked from stays as it was, and a run does without it
/// only with a clear word.
@Suite(.serialized, .needsCompiler) struct ZygoteTests: RunsCommand {
  /// A zygote for tests of a library, started as a run starts it.
  private final class Zygote {
    private(set) var zygote = charness_zygote()

    init(_ library: String, patience: Int32 = 120) throws {
      let words = [
        Run.executable, "--multifd-harness-zygote", "test=", "path=\(library)", "seed=1", "fuzz=0",
        "quick=1",
      ]
      let arguments = words.map { strdup($0) } + [nil]
      defer { arguments.forEach { free($0) } }
      try #require(
        charness_zygote_start(Run.executable, arguments, 165, patience, &zygote) == 0)
    }

    deinit { charness_zygote_end(&zygote) }

    /// A child that runs a test: 0, or an errno value.
    func start(_ test: String, _ child: inout charness_child) throws -> Int32 {
      var descriptor: Int32 = -1
      let shared = try #require(charness_shared_new(&descriptor))
      defer { charness_shared_free(shared, descriptor) }
      return charness_zygote_child(&zygote, test, descriptor, 1, &child)
    }

    /// Runs a test to its end: its process, what that said, and its status as of waitpid(2).
    func run(_ test: String) throws -> (pid: Int32, report: String, status: Int32) {
      var child = charness_child()
      try #require(try start(test, &child) == 0)
      _ = fcntl(child.report, F_SETFL, fcntl(child.report, F_GETFL) & ~O_NONBLOCK)
      var report: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 4096)
      while case let count = read(child.report, &buffer, buffer.count), count > 0 {
        report += buffer[..<count]
      }
      // Its report ends with it, up to a moment: a zombie is what is waited for.
      while try state(child.pid) != "Z" { usleep(1000) }
      let pid = child.pid
      var status: Int32 = -1
      try #require(charness_zygote_end_child(&zygote, &child, &status) == 0)
      return (pid, String(decoding: report, as: UTF8.self), status)
    }

    private func state(_ pid: Int32) throws -> Character? {
      let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
      return text.split(separator: ")").last?.first { $0 != " " }
    }

    /// What a test could leave behind in it: threads, descriptors, mapped files.
    func traces() throws -> [Set<String>] {
      let folder = "/proc/\(zygote.pid)", files = FileManager.default
      let maps = try String(contentsOfFile: folder + "/maps", encoding: .utf8)
      return [
        Set(try files.contentsOfDirectory(atPath: folder + "/task")),
        Set(try files.contentsOfDirectory(atPath: folder + "/fd")),
        Set(maps.split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst(5).first })
          .reduce(into: []) { $0.insert(String($1)) },
      ]
    }
  }

  @Test("each test has a process of its own that no other test has touched")
  func untouched() throws {
    let folder = try TemporaryFolder()
    // What one test does to its process would show in the next one that is forked from the same.
    let bad = try Compiler.compile(
      "good", as: "leaves", in: folder.path,
      flags: ["-DON_LOAD=if (getenv(\"BEEN\") != NULL) abort(); setenv(\"BEEN\", \"1\", 1)"])
    let zygote = try Zygote(bad)
    let first = try zygote.run("load/entry")
    let before = try zygote.traces()
    #expect(before[0].count == 1, "one thread")
    #expect(!before[2].contains { $0.contains("libmultifd") })
    var pids = Set([first.pid])
    for test in ["load/opens", "abi/bound", "roundtrip/basic", "isolation/concurrent"] {
      let child = try zygote.run(test)
      #expect(child.status == 0 && child.report.hasSuffix("done\n"), "\(test): \(child)")
      pids.insert(child.pid)
    }
    #expect(pids.count == 5)
    #expect(try zygote.traces() == before)
  }

  @Test("what a backend starts ends with its test")
  func grandchildren() throws {
    let folder = try TemporaryFolder()
    let note = folder("pid")
    // A process that nobody waits for, in the backend's own group.
    let start =
      "if (fork() == 0) { FILE *f = fopen(\"\(note)\", \"w\"); fprintf(f, \"%d\", getpid()); "
      + "fclose(f); for (;;) pause(); } while (access(\"\(note)\", R_OK) != 0) usleep(1000)"
    let bad = try Compiler.compile(
      "good", as: "starts", in: folder.path, flags: ["-DON_LOAD=\(start)"])
    #expect(try run([bad, "--only", "load/opens"]).code == 0)
    let text = try String(contentsOfFile: note, encoding: .utf8)
    let pid = try #require(Int32(text))
    // Nobody may have reaped it yet.
    let deadline = ContinuousClock.now + .seconds(30)
    while let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      !stat.contains(") Z ")
    {
      try #require(ContinuousClock.now < deadline, "\(stat)")
      usleep(1000)
    }
  }

  @Test("without a zygote a run ends at once, by a fault of the harness")
  func death() throws {
    let folder = try TemporaryFolder()
    let bad = try Compiler.compile(
      "good", as: "orphan", in: folder.path, flags: ["-DON_LOAD=kill(getppid(), SIGKILL)"])
    let start = ContinuousClock.now
    let result = try run([bad, "--quick"])
    #expect(result.code == 70, "\(result)")
    #expect(result.errors.contains("the one that they are forked from has ended"), "\(result)")
    #expect(ContinuousClock.now - start < .seconds(30))
  }

  @Test("a zygote that is silent is not waited for without end")
  func silence() throws {
    let folder = try TemporaryFolder()
    let zygote = try Zygote(try Compiler.compile("good", in: folder.path), patience: 1)
    #expect(try zygote.run("load/opens").status == 0)
    kill(zygote.zygote.pid, SIGSTOP)
    var child = charness_child()
    #expect(try zygote.start("load/opens", &child) == ETIMEDOUT)
  }
}
