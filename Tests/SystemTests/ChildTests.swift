import Foundation
import Glibc
import System
import TestSupport
import Testing

/// How child processes are started, read, ended and waited for.
@Suite("Child processes", .serialized)
struct ChildTests {
  /// A shell, whose output is kept.
  private static func shell(
    _ script: String, _ pipe: OutputPipe, program: Child.Program = .inPath,
    environment: [String]? = nil, passing: [Int32]? = [], in place: Child.Place = .ownGroup
  ) throws -> Child {
    try Child(
      ["sh", "-c", script], program: program, environment: environment,
      output: .descriptor(pipe.input), errors: .descriptor(pipe.input), passing: passing, in: place)
  }

  /// Runs a script to its end.
  private static func run(
    _ script: String, keeping limit: Int = 4096, program: Child.Program = .inPath,
    environment: [String]? = nil, passing: [Int32]? = [], in place: Child.Place = .ownGroup
  ) throws -> (status: WaitStatus?, output: String) {
    let pipe = try OutputPipe(.kept(limit))
    let child = try shell(
      script, pipe, program: program, environment: environment, passing: passing, in: place)
    #expect(child.follow(pipe, within: .seconds(20)))
    child.kill()
    return (child.status, String(decoding: pipe.bytes, as: UTF8.self))
  }

  /// Whether a process is there and no zombie.
  private static func lives(_ pid: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else {
      return false
    }
    return !text.contains(") Z ") && !text.contains(") X ")
  }

  private static func descriptors() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
  }

  @Test("What cannot be started is an error with its reason")
  func startFailure() throws {
    let missing = #expect(throws: SystemError.self) { try Child(["no-such-program-of-ours"]) }
    #expect(missing?.errno == ENOENT && missing?.reason == "No such file or directory")
    let folder = #expect(throws: SystemError.self) {
      try Child(["folder"], program: .file("/tmp"))
    }
    #expect(folder?.errno == EACCES)
    let closed = #expect(throws: SystemError.self) {
      try Child(["true"], output: .descriptor(9999))
    }
    #expect(closed?.errno == EBADF)
  }

  @Test("Its end is told as it was", arguments: [0, 7, 255])
  func exitCode(code: Int32) throws {
    let child = try Child(["sh", "-c", "exit \(code)"])
    #expect(child.wait(within: .seconds(20)) == .code(code))
    #expect(child.status == .code(code) && !child.isAlive)
    #expect(child.status?.description == "\(code)")
  }

  @Test("A signal that ended it is told, and is no exit code")
  func signal() throws {
    let child = try Child(["sh", "-c", "kill -USR1 $$; sleep 20"])
    let status = child.wait(within: .seconds(20))
    #expect(status == .signal(SIGUSR1) && status?.code == nil)
    #expect(status?.description == "signal \(SIGUSR1)")
  }

  @Test("A program is looked for in PATH, taken from a file, or from a descriptor")
  func programs() throws {
    #expect(try Self.run("echo $0").output == "sh\n")
    #expect(try Self.run("echo here", program: .file("/bin/sh")).output == "here\n")
    let file = open("/bin/sh", O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    // Behind those that it is given.
    let result = try Self.run(
      "test -e /proc/self/fd/4 && echo here", program: .opened(file), passing: [file])
    #expect(result.output == "here\n" && result.status == .code(0))
  }

  @Test("It has an empty stdin, no blocked signal, and does not inherit what we ignore")
  func signals() throws {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGTERM)
    pthread_sigmask(SIG_BLOCK, &set, nil)
    defer { pthread_sigmask(SIG_UNBLOCK, &set, nil) }
    let before = Glibc.signal(SIGXFSZ, SIG_IGN)
    defer { _ = Glibc.signal(SIGXFSZ, before) }
    let text = try Self.run("cat; grep -E 'SigBlk|SigIgn' /proc/self/status").output
    let sets = text.split(separator: "\n").compactMap {
      $0.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) }
    }
    #expect(sets.count == 2 && sets.first == 0, "\(text)")
    for number in [SIGPIPE, SIGXFSZ, SIGCHLD] {
      #expect(sets.last.map { $0 >> (number - 1) & 1 } == 0, "\(number): \(text)")
    }
  }

  @Test("It has the descriptors that it is given, in their order, and no others")
  func descriptorsOfTheChild() throws {
    // Not close-on-exec, as what we have been started with.
    let inherited = open("/dev/null", O_RDONLY)
    defer { close(inherited) }
    let folders = ["/usr", "/etc"].map { (path: String) -> Int32 in
      open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
    defer { for folder in folders { close(folder) } }
    let names = "cd /proc/self/fd; for n in *; do test -e $n && echo $n=$(readlink $n); done"
    let given = try Self.run(names, passing: folders).output
    #expect(given.contains("3=/usr\n4=/etc\n"), "\(given)")
    #expect(!given.contains("\(inherited)=/dev/null"), "\(given)")
    #expect(try Self.run("readlink /proc/self/fd/3").output == "")
    let all = try Self.run(names, passing: nil).output
    #expect(all.contains("\(inherited)=/dev/null"), "\(all)")
    #expect(!all.contains("=/usr"), "\(all)")
  }

  @Test("It has our environment, or another")
  func environment() throws {
    #expect(try Self.run("echo $PATH").output.count > 2)
    #expect(try Self.run("echo $A-$HOME", environment: ["A=b"]).output == "b-\n")
  }

  @Test(
    "It belongs to our group, to one of its own, or to a session of its own",
    arguments: [Child.Place.ourGroup, .ownGroup, .ownSession])
  func places(place: Child.Place) throws {
    let text = try Self.run("cut -d ' ' -f 1,5,6 /proc/$$/stat", in: place).output
    let words = text.split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) }
    try #require(words.count == 3, "\(text)")
    #expect(words[1] == (place == .ourGroup ? getpgrp() : words[0]))
    #expect(words[2] == (place == .ownSession ? words[0] : getsid(0)))
  }

  @Test("What it has started is ended with it, also when it has ended before, and left its group")
  func group() throws {
    for end in ["sleep 60", "exit 3"] {
      let pipe = try OutputPipe(.kept(100))
      let child = try Self.shell("sleep 60 & echo $!; \(end)", pipe)
      if end == "exit 3" {
        #expect(child.follow(pipe, within: .seconds(20)))
      } else {
        #expect(
          eventually {
            !child.follow(pipe, within: .milliseconds(10)) && pipe.bytes.last == 10
          })
      }
      let text = String(decoding: pipe.bytes, as: UTF8.self)
      let grandchild = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
      #expect(Self.lives(grandchild))
      child.kill()
      #expect(child.status == (end == "exit 3" ? .code(3) : .signal(SIGKILL)))
      #expect(eventually { !Self.lives(grandchild) })
    }
  }

  @Test("Once it has been reaped nobody is signalled")
  func reaped() throws {
    let child = try Child(["sleep", "60"], in: .ownGroup)
    #expect(child.isAlive && !child.hasEnded)
    #expect(child.send(SIGTERM))
    #expect(eventually { child.hasEnded })
    // A zombie still has its number.
    #expect(kill(child.pid, 0) == 0)
    #expect(child.send(SIGTERM))
    #expect(child.status == .signal(SIGTERM) && child.hasEnded)
    #expect(kill(child.pid, 0) != 0 && errno == ESRCH)
    #expect(!child.send(SIGKILL))
    child.kill()
    #expect(child.status == .signal(SIGTERM))
  }

  @Test("Where somebody else has been told how it ended, it has ended all the same")
  func reapedByOthers() throws {
    let child = try Child(["true"])
    var status: Int32 = 0
    #expect(waitpid(child.pid, &status, 0) == child.pid)
    #expect(child.hasEnded && !child.send(SIGKILL))
    #expect(child.wait(within: .seconds(20)) == .unknown)
  }

  @Test("Waiting ends with its time", arguments: [0, 0.001, 0.3])
  func timeout(seconds: Double) throws {
    let child = try Child(["sleep", "60"])
    defer { child.kill() }
    let pipe = try OutputPipe(.kept(10))
    let start = ContinuousClock.now
    #expect(child.wait(within: .seconds(seconds)) == nil)
    #expect(ContinuousClock.now - start >= .seconds(seconds))
    #expect(!child.follow(pipe, within: .seconds(seconds)))
    #expect(ContinuousClock.now - start >= .seconds(seconds * 2))
    #expect(child.isAlive)
  }

  @Test("Any thread may end it while another waits")
  func otherThread() throws {
    let child = try Child(["sleep", "60"])
    let threads = ThreadGroup()
    try threads.start("killer") {
      usleep(20_000)
      child.kill()
    }
    #expect(child.wait(within: .seconds(20)) == .signal(SIGKILL))
    threads.joinAll()
  }

  @Test("All that it has printed before its end is read, up to the limit, and it is not held up")
  func limits() throws {
    let script = "head -c 300000 /dev/zero | tr '\\0' x; exit 5"
    for limit in [0, 1, 4096, 299_999, 300_000, 400_000] {
      let result = try Self.run(script, keeping: limit)
      #expect(result.status == .code(5))
      #expect(result.output == String(repeating: "x", count: min(limit, 300_000)))
    }
  }

  @Test("One that prints for ever is given up in time")
  func endlessOutput() throws {
    let pipe = try OutputPipe(.kept(1000))
    let child = try Self.shell("while :; do echo yes; done", pipe)
    #expect(!child.follow(pipe, within: .milliseconds(300)))
    child.kill()
    #expect(pipe.bytes.count == 1000)
  }

  @Test("One that closes its output and lives on is waited for")
  func closesOutput() throws {
    let pipe = try OutputPipe(.kept(100))
    let child = try Self.shell("echo a; exec >&- 2>&-; sleep 0.3; exit 4", pipe)
    let start = ContinuousClock.now
    #expect(child.follow(pipe, within: .seconds(20)))
    #expect(ContinuousClock.now - start >= .milliseconds(250))
    #expect(child.status == .code(4) && pipe.bytes == Array("a\n".utf8))
    // Nor does that cost the processor: poll(2) returns at once for a closed pipe.
    let idle = try OutputPipe(.kept(100))
    let sleeper = try Self.shell("exec >&- 2>&-; sleep 60", idle)
    var before = rusage(), after = rusage()
    // RUSAGE_THREAD, which Glibc hides.
    getrusage(__rusage_who_t(1), &before)
    #expect(!sleeper.follow(idle, within: .milliseconds(500)))
    getrusage(__rusage_who_t(1), &after)
    sleeper.kill()
    let used = after.ru_nvcsw - before.ru_nvcsw
    #expect(used < 100, "woken \(used) times")
  }

  @Test("What it leaves running keeps nobody waiting who reads its output")
  func leavesOutputOpen() throws {
    let pipe = try OutputPipe(.kept(100))
    let child = try Self.shell("sleep 60 & exit 0", pipe)
    #expect(child.follow(pipe, within: .seconds(20)))
    child.kill()
  }

  @Test("Output is passed on as it comes")
  func passedOn() throws {
    let outer = try OutputPipe(.kept(100))
    let inner = try OutputPipe(.passedOn(to: outer.input))
    let child = try Self.shell("echo here", inner)
    #expect(child.follow(inner, within: .seconds(20)))
    #expect(child.follow(outer, within: .zero))
    #expect(outer.bytes == Array("here\n".utf8))
  }

  @Test("Nothing stays open, whether it was started or not")
  func leaks() throws {
    _ = try Self.run("true")
    // Other tests run beside this one, and have some of their own.
    let (rounds, others) = (150, 75)
    let before = try Self.descriptors()
    for _ in 0..<rounds {
      _ = try Self.run("exit 1", passing: [0, 1])
      let pipe = try OutputPipe(.kept(10))
      #expect(throws: SystemError.self) {
        try Child(["no-such-program-of-ours"], output: .descriptor(pipe.input))
      }
      #expect(throws: SystemError.self) {
        try Child(["true"], output: .descriptor(pipe.input), errors: .descriptor(9999))
      }
      try Child(["sleep", "60"]).kill()
    }
    #expect(try Self.descriptors() < before + others)
  }
}
