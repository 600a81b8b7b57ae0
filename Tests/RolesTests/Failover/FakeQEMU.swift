import Foundation
import Synchronization
import TestSupport

/// QEMUs as a failover sees them: a program that multifd starts, which only lives, and its two
/// sockets, which threads of this process serve. Each start behaves as the next of the list says.
final class FakeQEMU: Sendable {
  /// What it says when it has the whole stream.
  enum Verdict: Sendable { case taken, refused, silent, closes }

  /// How one start of it behaves.
  struct Behaviour: Sendable {
    var verdict = Verdict.taken
    /// Whether anybody accepts what `migrate-incoming` has announced.
    var listens = true
    /// Whether it acknowledges what comes before the devices.
    var reads = true
    /// What it says, and then closes, once something comes on the connection: instead of all else.
    var ends: [UInt8]?
    /// Whether its monitor goes on answering after `migrate-incoming`.
    var answers = true
    /// Whether the guest runs in it when it has the whole stream; nil: when it has taken it.
    var runs: Bool?
    /// Done when it has the whole stream, before the verdict.
    var onFed: @Sendable () -> Void = {}
  }

  /// One that is fed, and takes the guest.
  static let good = Behaviour()

  /// The program for the end of multifd's command line.
  let program: String
  /// How often one was fed to the end.
  let fed = Monitor(0)
  private let folder: TemporaryFolder
  private let isOver = Monitor(false)

  init(_ behaviours: [Behaviour]) throws {
    folder = try TemporaryFolder()
    program = folder("qemu")
    // It ends by itself, should a test forget it. Its command line is what a real one's would be.
    let script = """
      #!/bin/sh
      echo $$ >>\(folder("pids"))
      printf '%s\\n' "$@" >\(folder("arguments")).$$.new
      grep -E '^Sig(Blk|Ign)' /proc/self/status >\(folder("signals"))
      echo "qemu: error: $$ says so" >&2
      mv \(folder("arguments")).$$.new \(folder("arguments")).$$
      for i in $(seq 600); do sleep 0.1; done
      """
    try Program.write(script, to: program)
    let (folder, isOver, fed) = (folder, isOver, fed)
    Thread.detachNewThread {
      for (number, behaviour) in behaviours.enumerated() {
        // A rehearsal may be called off before its QEMU has come so far.
        guard let qmp = Self.monitorPath(folder, number, isOver) else { continue }
        Self.serve(qmp, behaviour, isOver, fed)
      }
    }
  }

  deinit { end() }

  /// Ends all of it.
  func end() {
    isOver.update { $0 = true }
    for pid in pids { OtherProcess.kill(pid, where: isAlive) }
  }

  /// The processes that were started, in order.
  var pids: [pid_t] {
    ((try? String(contentsOfFile: folder("pids"), encoding: .utf8)) ?? "")
      .split(separator: "\n").compactMap { pid_t($0) }
  }

  /// The masks of the last start, as /proc/PID/status tells them.
  var signals: [String: UInt64] { SignalMasks.read(folder("signals")) }

  /// Whether a process is there and is one of these.
  func isAlive(_ pid: pid_t) -> Bool {
    OtherProcess.commandLine(pid).contains(program)
  }

  /// Whether a process is gone, or can be waited for: field 3 of proc_pid_stat(5), behind the
  /// command's last parenthesis.
  static func hasEnded(_ pid: pid_t) -> Bool {
    let stat = String(
      decoding: FileManager.default.contents(atPath: "/proc/\(pid)/stat") ?? Data(), as: UTF8.self)
    let state = stat.lastIndex(of: ")").flatMap { stat[$0...].dropFirst(2).first }
    return state == nil || state == "Z" || state == "X"
  }

  /// The monitor of start `number`, as soon as it was started; nil when it has ended before it
  /// could be known, or all is over.
  private static func monitorPath(
    _ folder: TemporaryFolder, _ number: Int, _ isOver: Monitor<Bool>
  ) -> String? {
    while !isOver.read({ $0 }) {
      let pids = ((try? String(contentsOfFile: folder("pids"), encoding: .utf8)) ?? "")
        .split(separator: "\n")
      let ended = number < pids.count && pid_t(pids[number]).map(hasEnded) ?? false
      if number < pids.count,
        let text = try? String(
          contentsOfFile: folder("arguments") + "." + pids[number], encoding: .utf8),
        let line = text.split(separator: "\n").first(where: { $0.hasPrefix("unix:") })
      {
        return String(line.dropFirst(5).prefix { $0 != "," })
      }
      if ended { return nil }
      usleep(5000)
    }
    return nil
  }

  private static func serve(
    _ path: String, _ behaviour: Behaviour, _ isOver: Monitor<Bool>, _ fed: Monitor<Int>
  ) {
    Thread.detachNewThread {
      guard let socket = accept(path, isOver) else { return }
      defer { close(socket) }
      Sockets.write(
        socket, #"{"QMP":{"version":{"qemu":{"major":11,"minor":0,"micro":0}}}}"#.utf8 + [10])
      let before = fed.read { $0 }
      var rest: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      var announced = false
      while case let count = Sockets.read(socket, &buffer), count > 0 {
        rest += buffer[..<count]
        while let end = rest.firstIndex(of: 10) {
          let command = try? JSON(parsing: rest[..<end])
          rest.removeSubrange(...end)
          if let uri = command?["arguments"]["uri"].string {
            announced = true
            if behaviour.listens { take(String(uri.dropFirst(5)), behaviour, isOver, fed) }
          } else if announced, !behaviour.answers {
            // It stands still; the other side gives up.
            continue
          }
          let runs = behaviour.runs ?? (behaviour.verdict == .taken)
          let status = runs && fed.read { $0 } > before ? "running" : "inmigrate"
          let id = command?["id"].int ?? 0
          Sockets.write(socket, "{\"return\":{\"status\":\"\(status)\"},\"id\":\(id)}\n".utf8)
        }
      }
    }
  }

  /// The migration's socket: there when this returns.
  private static func take(
    _ path: String, _ behaviour: Behaviour, _ isOver: Monitor<Bool>, _ fed: Monitor<Int>
  ) {
    guard let listener = listen(path) else { return }
    Thread.detachNewThread {
      guard let socket = accept(listener, isOver) else { return }
      defer { close(socket) }
      if let end = behaviour.ends {
        var first = [UInt8](repeating: 0, count: 1)
        if Sockets.read(socket, &first) > 0 { Sockets.write(socket, end) }
        // So that what it said arrives: a connection that is closed over unread bytes is reset.
        shutdown(socket, Int32(SHUT_WR))
        var rest = [UInt8](repeating: 0, count: 1 << 16)
        while Sockets.read(socket, &rest) > 0 {}
        return
      }
      // PONG 1 to 3, the answers to what will have been asked before the devices come.
      let pongs: [UInt8] = (1...3).flatMap { [0, 2, 0, 4, 0, 0, 0, $0] }
      if behaviour.reads { Sockets.write(socket, pongs) }
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      var last: UInt8 = 0
      while case let count = Sockets.read(socket, &buffer), count > 0 { last = buffer[count - 1] }
      // A rehearsal ends before the VM description, which ends in a brace.
      guard behaviour.reads, last == UInt8(ascii: "}") else { return }
      behaviour.onFed()
      fed.update { $0 += 1 }
      switch behaviour.verdict {
      case .taken: Sockets.write(socket, [0, 1, 0, 4, 0, 0, 0, 0])
      case .refused: Sockets.write(socket, [0, 1, 0, 4, 0, 0, 0, 1])
      case .silent: _ = isOver.wait(.seconds(60)) { $0 ? true : nil }
      case .closes: break
      }
    }
  }

  private static func accept(_ path: String, _ isOver: Monitor<Bool>) -> Int32? {
    listen(path).flatMap { accept($0, isOver) }
  }

  private static func accept(_ listener: Int32, _ isOver: Monitor<Bool>) -> Int32? {
    defer { close(listener) }
    while !isOver.read({ $0 }) {
      var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      if poll(&entry, 1, 50) == 1 { return Sockets.accept(listener) }
    }
    return nil
  }

  private static func listen(_ path: String) -> Int32? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    // One live address of the stated size for the call.
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard status == 0, Glibc.listen(descriptor, 4) == 0 else {
      close(descriptor)
      return nil
    }
    return descriptor
  }
}

/// `SigBlk` and `SigIgn` as a process found them, from lines of /proc/self/status.
enum SignalMasks {
  static func read(_ path: String) -> [String: UInt64] {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    var masks: [String: UInt64] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(whereSeparator: { $0 == ":" || $0 == "\t" })
      if words.count == 2 { masks[String(words[0])] = UInt64(words[1], radix: 16) }
    }
    return masks
  }

  /// Whether a mask has a signal.
  static func has(_ mask: UInt64?, _ signal: Int32) -> Bool? {
    mask.map { $0 >> UInt64(signal - 1) & 1 == 1 }
  }
}
