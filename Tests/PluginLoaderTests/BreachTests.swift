import Foundation
import Glibc
import PluginLoader
import TestSupport
import Testing

/// What a library does to the process that opens it, or beyond it: it is noticed where it is tried,
/// and ends there.
@Suite("Breaking in", .compiler)
struct BreachTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let code: String
    let says: String
    var linking: [String] = []

    init(_ description: String, _ code: String, _ says: String, linking: [String] = []) {
      testDescription = description
      self.code = code
      self.says = says
      self.linking = linking
    }
  }

  static let changes: [Case] = [
    Case(
      "closes descriptors", "for (int i = 0; i < 256; i++) close(i)",
      "closes descriptors that it has not opened"),
    Case(
      "closes all descriptors", "syscall(SYS_close_range, 0, ~0u, 0)",
      "closes descriptors that it has not opened"),
    Case("closes stdout", "close(1)", "closes descriptors that it has not opened"),
    Case(
      "takes stdout's place", "dup2(open(\"/dev/null\", O_WRONLY), 1)", "puts a file of its own in"),
    Case(
      "takes every place",
      "int f = open(\"/dev/null\", O_RDWR); for (int i = 0; i < 1024; i++) dup2(f, i)",
      "puts a file of its own in the place of a descriptor that it has not opened"),
    Case(
      "leaves a socket", "socket(AF_UNIX, SOCK_STREAM, 0)", "leaves a descriptor open: socket:["),
    Case(
      "leaves a file", "open(\"/dev/zero\", O_RDONLY | O_CLOEXEC)",
      "leaves a descriptor open: /dev/zero"),
    Case(
      "starts a thread", "pthread_t t; pthread_create(&t, 0, (void *(*)(void *))pause, 0)",
      "starts a thread"),
    Case(
      "forks", "if (fork() == 0) for (;;) pause()", "starts a process that it does not wait for"),
    Case(
      "leaves a zombie", "if (fork() == 0) _exit(0); usleep(50000)",
      "starts a process that it does not wait for"),
    Case(
      "changes limits",
      "struct rlimit l; getrlimit(RLIMIT_NOFILE, &l); l.rlim_cur--; setrlimit(RLIMIT_NOFILE, &l)",
      "changes resource limits"),
    Case("changes the umask", "umask(umask(0) ^ 7)", "changes the umask"),
    Case("changes the folder", "chdir(\"/proc\")", "changes the working folder"),
    Case("handles a signal", "signal(SIGUSR2, SIG_IGN)", "changes signal handlers"),
    Case(
      "blocks a signal",
      "sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR2); sigprocmask(SIG_BLOCK, &s, 0)",
      "changes the signal mask"),
    Case("sets an alarm", "alarm(1000)", "changes timers"),
    Case("makes a timer", "timer_t t; timer_create(CLOCK_MONOTONIC, 0, &t)", "changes timers"),
    Case("changes the environment", "setenv(\"LD_PRELOAD\", \"x\", 1)", "changes the environment"),
    Case("changes the locale", "setlocale(LC_ALL, \"C.UTF-8\")", "changes the locale"),
    Case("rounds up", "fesetround(FE_UPWARD)", "changes the floating-point mode", linking: ["-lm"]),
    Case("names the thread", "prctl(PR_SET_NAME, \"mine\")", "changes the thread's name"),
    Case("can be dumped", "prctl(PR_SET_DUMPABLE, 1)", "changes flags of the process"),
    Case("adopts", "prctl(PR_SET_CHILD_SUBREAPER, 1)", "changes flags of the process"),
    Case("is nice", "nice(3)", "changes its priority"),
    Case(
      "maps memory that can be executed",
      "mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)",
      "changes memory that can be written and executed"),
    Case("sets up malloc()", "mallopt(M_MMAP_THRESHOLD, 65536)", "changes settings of malloc()"),
    Case("takes random numbers", "srandom(7)", "changes the numbers of rand()"),
    Case(
      "runs another program", "execl(\"/bin/true\", \"true\", NULL)",
      "ended the process with exit code 0 while it was opened"),
  ]

  @Test("is refused for what it changes, by name", arguments: changes)
  func change(_ bad: Case) throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": bad.code], linking: bad.linking)
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .probeCrashed)
    #expect(error.why.contains(bad.says), "\(error.why)")
    #expect(error.why.hasPrefix("opening it ") || error.why.hasPrefix("ended "), "\(error.why)")
  }

  @Test("a stack that can be executed is a change, too")
  func stack() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, linking: ["-Wl,-z,execstack"])
    let error = try #require(loadError(loader(folder.path)))
    // Newer dynamic linkers refuse it themselves.
    #expect(error.why.contains("can be written and executed") || error.why.contains("stack"))
  }

  @Test("what its entry point changes counts as well")
  func entry() throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["ENTRY": "umask(umask(0) ^ 7)"])
    #expect(loadError(loader(folder.path))?.why == "opening it changes the umask")
    try Compiler.plugin(in: folder.path, ["ENTRY": "socket(AF_UNIX, SOCK_STREAM, 0)"])
    #expect(loadError(loader(folder.path))?.why.hasPrefix("opening it leaves a descr") == true)
  }

  // It is loaded here too, in the end: it waits for its own child, and not for any of ours.
  @Test("who leaves everything as it was may look around")
  func neighbour() throws {
    let folder = try TestFolder()
    let code = """
      close(open("/proc/cpuinfo", O_RDONLY)); pclose(popen("true", "r")); \
      pthread_t t; pthread_create(&t, 0, (void *(*)(void *))getpid, 0); pthread_join(t, 0); \
      raise(SIGWINCH); kill(getpid(), 0); kill(0, 0); \
      struct rlimit l; prlimit(0, RLIMIT_NOFILE, 0, &l); prlimit(getpid(), RLIMIT_NOFILE, 0, &l); \
      free(malloc(1 << 20)); pid_t child = fork(); if (child == 0) _exit(0); waitpid(child, 0, 0)
      """
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": code])
    #expect(loadError(loader(folder.path)) == nil)
  }

  static let reaches: [(String, String)] = [
    ("kill(getppid(), SIGKILL)", "kill"), ("kill(getppid(), SIGSTOP)", "kill"),
    ("kill(-1, 0)", "kill"), ("syscall(SYS_tgkill, getppid(), getppid(), 9)", "tgkill"),
    ("syscall(SYS_tkill, getppid(), 9)", "tkill"),
    ("sigqueue(getppid(), 9, (union sigval){0})", "rt_sigqueueinfo"),
    (
      "struct rlimit l = {0, 0}; prlimit(getppid(), RLIMIT_NOFILE, &l, 0)", "prlimit"
    ),
    ("syscall(SYS_ptrace, 16, getppid(), 0, 0)", "ptrace"),
    ("syscall(SYS_process_vm_readv, getppid(), 0, 0, 0, 0, 0)", "process_vm_readv"),
    ("syscall(SYS_process_vm_writev, getppid(), 0, 0, 0, 0, 0)", "process_vm_writev"),
    (
      "syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, getppid(), 0), 9, 0, 0)",
      "pidfd_send_signal"
    ),
  ]

  @Test(
    "what is above it it does not reach",
    .enabled(
      if: (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8))?
        .contains("Seccomp:") == true, "SKIPPED: this kernel has no seccomp"),
    arguments: reaches)
  func reach(_ bad: (String, String)) throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": bad.0])
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .probeCrashed)
    #expect(error.why == "opening it reaches for another process: \(bad.1)")
  }

  /// What a library may start, each writing down its number.
  static let starts: [(String, String)] = [
    ("a child", "note(); for (;;) pause()"),
    ("a daemon", "setsid(); if (fork() > 0) _exit(0); note(); for (;;) pause()"),
    (
      "a daemon that fears no signal and has closed everything",
      """
      setsid(); if (fork() > 0) _exit(0); for (int i = 1; i < 65; i++) signal(i, SIG_IGN); \
      syscall(SYS_close_range, 0, ~0u, 0); note(); for (;;) pause()
      """
    ),
    (
      "daemons below daemons",
      "for (int i = 0; i < 5; i++) { setsid(); if (fork() > 0) for (;;) pause(); } note(); for (;;) pause()"
    ),
  ]

  /// How its own process ends.
  static let ends = ["", "abort()", "_exit(0)", "for (;;) pause()"]

  @Test("nothing that a library starts lives on", arguments: starts, ends)
  func started(_ what: (String, String), _ end: String) throws {
    let folder = try TestFolder()
    let note = folder.path + "/pid"
    let code = """
      auto void note(void); \
      void note(void) { FILE *f = fopen("\(note).new", "w"); fprintf(f, "%d", getpid()); \
      fclose(f); rename("\(note).new", "\(note)"); } \
      if (fork() == 0) { \(what.1); } \
      while (access("\(note)", F_OK)) usleep(1000); \
      \(what.0.hasPrefix("a daemon") ? "wait(0);" : "") \(end)
      """
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": code])
    let hangs = end.hasPrefix("for")
    let error = try #require(
      loadError(loader(folder.path, timeLimit: hangs ? .seconds(2) : .seconds(30))))
    #expect(error.kind == .probeCrashed)
    if end.isEmpty { #expect(error.why.contains("starts a process that "), "\(error.why)") }
    let pid = try #require(Int32(String(contentsOfFile: note, encoding: .utf8)))
    // It has been waited for, too: by the time that anything is said there is no trace of it.
    #expect(kill(pid, 0) != 0 && errno == ESRCH)
  }

  @Test("when the host dies, what it was trying goes with it")
  func hostDies() throws {
    let folder = try TestFolder()
    let note = folder.path + "/pid"
    let code = """
      if (fork() == 0) { setsid(); if (fork() > 0) _exit(0); \
      FILE *f = fopen("\(note).new", "w"); fprintf(f, "%d", getpid()); \
      fclose(f); rename("\(note).new", "\(note)"); for (;;) pause(); } for (;;) pause()
      """
    try Compiler.plugin(in: folder.path, ["CONSTRUCTOR": code])
    let host = Process()
    host.executableURL = URL(filePath: Command.path)
    host.arguments = ["plugins", "check", "sample", "--plugin-dir", folder.path]
    try host.run()
    try #require(eventually(within: .seconds(30)) { access(note, F_OK) == 0 })
    let pid = try #require(Int32(String(contentsOfFile: note, encoding: .utf8)))
    kill(host.processIdentifier, SIGKILL)
    #expect(eventually(within: .seconds(30)) { kill(pid, 0) != 0 })
  }
}
