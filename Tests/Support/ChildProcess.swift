import Foundation
import System

/// A child process whose output is collected as it comes, and which never outlives this process.
///
/// It is signalled by its own pid and only until it has been reaped, so that no other process can
/// be hit. It dies with this process (also when that crashes), because it is started through
/// setpriv --pdeathsig by a thread that waits for it all its life.
public final class ChildProcess: Sendable {
  /// How a process ended.
  public enum Exit: Sendable, Equatable {
    /// It exited with this code.
    case code(Int32)
    /// This signal ended it.
    case signal(Int32)
  }

  /// The command, program first.
  public let arguments: [String]
  /// The process id.
  public let pid: pid_t
  /// What it wrote to stdout.
  public let output = TextLog()
  /// What it wrote to stderr.
  public let errors = TextLog()

  private let child: Child

  /// Starts `arguments` with an empty stdin; `environment` is added to this process's own. Throws
  /// when the program cannot be started.
  ///
  /// - Parameter passing: descriptors that it gets as 3, 4 and so on, and no others then; they may
  ///   be close-on-exec here.
  public init(
    _ arguments: [String], environment: [String: String] = [:], passing: [Int32]? = nil
  ) throws {
    self.arguments = arguments
    let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let stdout = try Pipe()
    let stderr = try Pipe()
    let started = Monitor<Result<Child, LabError>?>(nil)
    Thread.detachNewThread {
      // This thread lives as long as the child: the kernel's parent-death signal is bound to it.
      let result = Result { () throws(SystemError) in
        try Child(
          ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] + arguments,
          environment: merged.map { "\($0.key)=\($0.value)" },
          output: .descriptor(stdout.write), errors: .descriptor(stderr.write), passing: passing)
      }.mapError { LabError("starting \(arguments[0]): \($0.reason)") }
      close(stdout.write)
      close(stderr.write)
      started.update { $0 = result }
      if case .success(let child) = result {
        while child.wait(within: .seconds(3600)) == nil {}
      }
    }
    Self.collect(stdout.read, output)
    Self.collect(stderr.read, errors)
    guard let result = started.wait(.seconds(30), for: { $0 }) else {
      throw LabError("\(arguments[0]) did not start within 30 s")
    }
    child = try result.get()
    pid = child.pid
  }

  deinit { kill() }

  /// Whether it still runs.
  public var isRunning: Bool { child.isAlive }

  /// Processes that it has started and that are there now: of `multifd receive` and `send`, the
  /// worker.
  public var children: [pid_t] {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    return tasks.flatMap { task -> [pid_t] in
      let text = try? String(
        contentsOfFile: "/proc/\(pid)/task/\(task)/children", encoding: .utf8)
      return (text ?? "").split(separator: " ").compactMap { pid_t($0) }
    }
  }

  /// The worker of `multifd receive` and `send`.
  public var worker: pid_t? {
    children.first { pid in
      (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) == "multifd-worker\n"
    }
  }

  /// User and system time it has used so far, threads included.
  public var processorTime: Duration {
    if let time = child.processorTime { return time }
    let time = Self.look(at: pid)?.processorTime ?? .zero
    // It may have been reaped meanwhile, and its number may be another's.
    return child.processorTime ?? time
  }

  /// What the kernel says of a process: its user and system time, and whether it has ended and only
  /// waits to be reaped; nil for one that is gone.
  public static func look(at pid: pid_t) -> (processorTime: Duration, isZombie: Bool)? {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let close = text.lastIndex(of: ")")
    else { return nil }
    // proc(5): after the command in parentheses comes the state; utime and stime are the 12th and
    // 13th word, in clock ticks.
    let words = text[close...].split(separator: " ").dropFirst()
    guard words.count > 12 else { return nil }
    let ticks = words.dropFirst(11).prefix(2).compactMap { Int($0) }.reduce(0, +)
    return (.seconds(1) * ticks / sysconf(Int32(_SC_CLK_TCK)), words.first == "Z")
  }

  /// Waits for the end of the process and of its output; nil at the time-out.
  public func wait(_ timeout: Duration) -> Exit? {
    guard let status = child.wait(within: timeout) else { return nil }
    // Its descendants may hold the pipes: then the text so far is what there is.
    _ = output.waitForEnd(.seconds(2))
    _ = errors.waitForEnd(.seconds(2))
    switch status {
    case .code(let code): return .code(code)
    case .signal(let number): return .signal(number)
    case .unknown: preconditionFailure("\(arguments[0]) was waited for by somebody else")
    }
  }

  /// Sends a signal, unless the process has ended.
  public func kill(_ signal: Int32 = SIGKILL) { child.send(signal) }

  /// Asks with SIGTERM, then insists with SIGKILL after `grace`.
  @discardableResult
  public func terminate(grace: Duration = .seconds(5)) -> Exit? {
    kill(SIGTERM)
    if let exit = wait(grace) { return exit }
    kill(SIGKILL)
    return wait(.seconds(10))
  }

  private struct Pipe {
    let read: Int32
    let write: Int32

    /// A socket pair, because it can be made close-on-exec in one step: other threads start
    /// processes too.
    init() throws {
      var ends: [Int32] = [-1, -1]
      guard socketpair(AF_UNIX, Sockets.streamType, 0, &ends) == 0 else {
        throw LabError("socketpair: " + String(cString: strerror(errno)))
      }
      (read, write) = (ends[0], ends[1])
      shutdown(read, Int32(SHUT_WR))
    }
  }

  private static func collect(_ descriptor: Int32, _ log: TextLog) {
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = Sockets.read(descriptor, &buffer), count > 0 {
        log.append(buffer[..<count])
      }
      log.end()
      close(descriptor)
    }
  }
}
