import CLinux
import Glibc
import Synchronization

/// A child process that any thread may end. It is signalled only until it has been reaped, so no
/// other process that has got its number can be hit.
///
/// There are libraries for this, and none that fits. Foundation.Process gives a child no session of
/// its own, tells nobody's other threads apart when it ends, and hides posix_spawn's errors.
/// swift-subprocess is made for tasks: whoever awaits it runs on a pool of threads, which this
/// house, of one blocking thread a channel, does not have, and it ends its child when the task
/// ends, where a QEMU that has the guest must outlive us; it costs 30 CPU seconds of every clean
/// build, for what is a page of posix_spawn.
///
/// A `Child` that goes away leaves its process alone.
public final class Child: Sendable {
  /// Which program is run.
  public enum Program: Sendable {
    /// The first argument, looked for in PATH.
    case inPath
    /// A file: `/proc/self/exe` is this program once more.
    case file(String)
    /// A file that is open, whatever its name leads to by now. The child has it too, as the last of
    /// the descriptors that it is given, and no others.
    case opened(Int32)
  }

  /// Where what it prints goes.
  public enum Output: Sendable {
    /// Nowhere.
    case null
    /// To one of our descriptors: a file, the input of an ``OutputPipe``, our own stderr.
    case descriptor(Int32)
  }

  /// To what it belongs.
  public enum Place: Sendable {
    /// To our process group: what a terminal's keys send us, it gets.
    case ourGroup
    /// To a process group of its own, so that it can be ended with its children.
    case ownGroup
    /// To a session of its own, so that what ends us does not end it.
    case ownSession
  }

  /// Its process id.
  public let pid: pid_t
  private let leadsGroup: Bool
  /// Readable when it has ended; -1 where there can be none (an old kernel, too many open files).
  private let descriptor: Int32
  private struct End {
    var status: WaitStatus
    var processorTime = Duration.zero
  }
  /// nil while nobody has reaped it.
  private let end = Mutex<End?>(nil)

  /// Starts a process, with an empty stdin, no signal blocked, and those at their defaults that we
  /// are likely to ignore.
  ///
  /// - Parameters:
  ///   - arguments: its name first.
  ///   - program: what is run.
  ///   - environment: `NAME=value`; nil: ours.
  ///   - output: its stdout.
  ///   - errors: its stderr.
  ///   - passing: what it gets as descriptors 3, 4 and so on; it has no other then. nil: all that
  ///     is not close-on-exec, and nothing that we open is: what we have been given for it, such as
  ///     a tap.
  ///   - place: to what it belongs.
  public init(
    _ arguments: [String], program: Program = .inPath, environment: [String]? = nil,
    output: Output = .descriptor(STDERR_FILENO), errors: Output = .descriptor(STDERR_FILENO),
    passing: [Int32]? = [], in place: Place = .ourGroup
  ) throws(SystemError) {
    var descriptors = passing
    if case .opened(let file) = program { descriptors = (descriptors ?? []) + [file] }
    let files = try ChildFiles(output: output, errors: errors, others: descriptors)
    let path: String
    switch program {
    case .inPath: path = arguments[0]
    case .file(let name): path = name
    case .opened: path = "/proc/self/fd/\(STDERR_FILENO + Int32(descriptors?.count ?? 0))"
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    Self.setSignals(&attributes)
    var flags = Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF)
    switch place {
    case .ourGroup: break
    // The group 0, as the attributes have it, stands for a new one.
    case .ownGroup: flags |= Int16(POSIX_SPAWN_SETPGROUP)
    case .ownSession: flags |= 0x80  // POSIX_SPAWN_SETSID, which Glibc hides
    }
    posix_spawnattr_setflags(&attributes, flags)
    // Copies of our own, which live until posix_spawn has read them.
    let argv = arguments.map { strdup($0) } + [nil]
    let envp = environment.map { $0.map { strdup($0) } + [nil] }
    defer { (argv + (envp ?? [])).forEach { free($0) } }
    var pid = pid_t()
    func spawn(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
      guard case .inPath = program else {
        return posix_spawn(&pid, path, &files.actions, &attributes, argv, environment)
      }
      return posix_spawnp(&pid, path, &files.actions, &attributes, argv, environment)
    }
    let status = if let envp { spawn(envp) } else { spawn(environ) }
    guard status == 0 else { throw SystemError("posix_spawn", errno: status) }
    self.pid = pid
    leadsGroup = place == .ownGroup
    // Ours, and not reaped yet: it is that process's number.
    descriptor = clinux_pidfd_open(pid)
  }

  deinit {
    // One that has ended leaves nothing behind.
    _ = status
    if descriptor >= 0 { close(descriptor) }
  }

  /// What we wait for, or do not want to die of, is the child's to receive, and to die of.
  private static func setSignals(_ attributes: inout posix_spawnattr_t) {
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var byDefault = sigset_t()
    sigemptyset(&byDefault)
    // A broken pipe, or a file at its limit, must end a program that does not expect to live on.
    // Others stay as whoever started us has them: nohup(1) means what we start, too.
    for signal in [SIGPIPE, SIGXFSZ, SIGCHLD] { sigaddset(&byDefault, signal) }
    posix_spawnattr_setsigdefault(&attributes, &byDefault)
  }

  /// How it ended; nil while it runs. Who asks reaps it.
  public var status: WaitStatus? {
    end.withLock { end in
      if end == nil {
        var status: Int32 = 0
        var usage = rusage()
        let result = wait4(pid, &status, WNOHANG, &usage)
        if result == pid {
          end = End(
            status: WaitStatus(status),
            processorTime: Duration(usage.ru_utime) + Duration(usage.ru_stime))
        } else if result < 0, errno == ECHILD {
          end = End(status: .unknown)
        }
      }
      return end?.status
    }
  }

  /// The user and system time that it has used, and those of its children that it has waited for;
  /// nil while it is not reaped.
  public var processorTime: Duration? { end.withLock { $0?.processorTime } }

  /// Whether it runs.
  public var isAlive: Bool { status == nil }

  /// Whether it has ended. It is not reaped for that: its children can still be ended with it.
  public var hasEnded: Bool {
    end.withLock { end in
      if end != nil { return true }
      var info = siginfo_t()
      guard waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 else {
        return errno == ECHILD
      }
      // Zero where there is nothing to tell.
      return info.si_signo != 0
    }
  }

  /// Sends a signal, to its process group too if it leads one.
  ///
  /// - Returns: false when it has been reaped: nobody was signalled then, for its number may be
  ///   another's.
  @discardableResult
  public func send(_ signal: Int32) -> Bool {
    end.withLock { end in
      // Not reaped while the lock is held, unless the kernel does so unasked.
      var info = siginfo_t()
      guard end == nil,
        waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0
      else { return false }
      if leadsGroup { Glibc.kill(-pid, signal) }
      // It may have left its group.
      if !leadsGroup || getpgid(pid) != pid { Glibc.kill(pid, signal) }
      return true
    }
  }

  /// Ends it at once, with its process group if it leads one. One that waits for storage which does
  /// not answer dies when that does, and is not waited for.
  public func kill() {
    send(SIGKILL)
    wait(within: .seconds(2))
  }

  /// Waits for its end, and reaps it.
  ///
  /// - Returns: how it ended; nil when the time is over.
  @discardableResult
  public func wait(within limit: Duration) -> WaitStatus? {
    let deadline = ContinuousClock.now + limit
    while true {
      if let status { return status }
      guard pause(until: deadline, []) else { return nil }
    }
  }

  /// Reads what it prints until it ends. It is not reaped, so that ``kill()`` ends what it leaves
  /// behind.
  ///
  /// Its end is what counts: it may close its output and live on, and what it has started may keep
  /// that open.
  ///
  /// - Parameter pipes: their inputs are closed here, the child has its own.
  /// - Returns: whether it has ended; all that it has printed before has been read then. false when
  ///   the time is over.
  public func follow(_ pipes: OutputPipe..., within limit: Duration) -> Bool {
    let deadline = ContinuousClock.now + limit
    for pipe in pipes { pipe.closeInput() }
    while true {
      // Looked at first: what it said before it ended is read below.
      let hasEnded = self.hasEnded
      let isTaken = pipes.reduce(true) { $1.drain() && $0 }
      if hasEnded { return true }
      // What nobody takes would show as readable, for ever.
      if !isTaken { usleep(5_000) }
      guard pause(until: deadline, pipes) else { return false }
    }
  }

  /// Waits for its end, or for something to read; perhaps for less. false when there is no time
  /// left.
  private func pause(until deadline: ContinuousClock.Instant, _ pipes: [OutputPipe]) -> Bool {
    let left = (deadline - .now) / .milliseconds(1)
    guard left > 0 else { return false }
    // poll(2) passes over negative descriptors. At the end of a pipe it would return at once, for
    // ever.
    var polled = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
    polled += pipes.map { pollfd(fd: $0.readable, events: Int16(POLLIN), revents: 0) }
    _ = poll(&polled, nfds_t(polled.count), Int32(min(left.rounded(.up), descriptor < 0 ? 2 : 1e9)))
    return true
  }
}

extension Duration {
  fileprivate init(_ time: timeval) {
    self = .seconds(time.tv_sec) + .microseconds(time.tv_usec)
  }
}

/// posix_spawn's file actions for a child's descriptors.
private final class ChildFiles {
  /// What is done in the child, in this order.
  var actions = posix_spawn_file_actions_t()
  /// Ours, until the child has them: above all numbers that it gets, so that none is overwritten.
  private var copies: [Int32] = []

  init(output: Child.Output, errors: Child.Output, others: [Int32]?) throws(SystemError) {
    posix_spawn_file_actions_init(&actions)
    let first = STDERR_FILENO + 1
    let end = first + Int32(others?.count ?? 0)
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    try add(output, as: STDOUT_FILENO, end)
    try add(errors, as: STDERR_FILENO, end)
    for (number, descriptor) in zip(first..., others ?? []) {
      try add(.descriptor(descriptor), as: number, end)
    }
    if others != nil { clinux_spawn_close_from(&actions, end) }
  }

  deinit {
    posix_spawn_file_actions_destroy(&actions)
    for copy in copies { close(copy) }
  }

  private func add(_ output: Child.Output, as number: Int32, _ end: Int32) throws(SystemError) {
    switch output {
    case .null: posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0)
    case .descriptor(let descriptor):
      let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, end)
      guard copy >= 0 else { throw SystemError("fcntl") }
      copies.append(copy)
      posix_spawn_file_actions_adddup2(&actions, copy, number)
    }
  }
}
