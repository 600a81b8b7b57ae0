import CHarness
import Glibc

/// A test in its child process, seen from outside.
final class RunningChild {
  let test: TestDescription
  private let settings: HarnessSettings
  private let zygote: Zygote
  private var child = charness_child()
  /// Written by the child, read when it has ended.
  private let shared: UnsafeMutablePointer<charness_shared>
  private let sharedDescriptor: Int32
  private let started = charness_now()
  private var deadline: UInt64
  private var report = Pipe()
  private var output = Pipe()
  private var hasEnded = false
  private var timedOut = false

  var isDone: Bool { hasEnded || timedOut }

  /// What came through a pipe.
  private struct Pipe {
    var bytes: [UInt8] = []
    var isAtEnd = false

    /// Reads what is there; keeps the first `limit` bytes.
    mutating func drain(_ descriptor: Int32, limit: Int) {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1 << 16) { buffer in
        while !isAtEnd {
          // The buffer is alive for the whole closure and read() is told its size.
          let count = read(descriptor, buffer.baseAddress, buffer.count)
          if count == 0 { isAtEnd = true }
          guard count > 0 else { return }
          bytes += buffer[..<min(count, max(0, limit - bytes.count))]
        }
      }
    }
  }

  init(
    _ test: TestDescription, _ settings: HarnessSettings, of zygote: Zygote
  ) throws(HarnessFault) {
    self.test = test
    self.settings = settings
    self.zygote = zygote
    deadline = started &+ UInt64(settings.limit(for: test) * 1e9)
    var descriptor: Int32 = -1
    guard let shared = charness_shared_new(&descriptor) else {
      throw HarnessFault("no shared memory: \(String(cString: strerror(errno)))")
    }
    self.shared = shared
    sharedDescriptor = descriptor
    do throws(HarnessFault) {
      child = try zygote.start(test, sharing: descriptor)
    } catch {
      charness_shared_free(shared, descriptor)
      throw error
    }
  }

  /// Blocks until at least one of them is done.
  static func wait(_ children: [RunningChild]) {
    guard !children.isEmpty else { return }
    while !children.contains(where: \.isDone) {
      let now = charness_now()
      let next = children.map(\.deadline).min() ?? now
      let left = next > now ? Int32(clamping: (next - now) / 1_000_000 + 1) : 0
      var descriptors = children.flatMap { child in
        [
          pollfd(fd: child.child.pidfd, events: Int16(POLLIN), revents: 0),
          pollfd(
            fd: child.report.isAtEnd ? -1 : child.child.report, events: Int16(POLLIN), revents: 0),
          pollfd(
            fd: child.output.isAtEnd ? -1 : child.child.output, events: Int16(POLLIN), revents: 0),
        ]
      }
      // Without a pidfd the end of the report stands for the end of the process.
      _ = poll(&descriptors, nfds_t(descriptors.count), left)
      for (index, child) in children.enumerated() {
        child.drain()
        child.hasEnded =
          child.child.pidfd >= 0
          ? descriptors[index * 3].revents != 0 : child.report.isAtEnd
        child.timedOut = !child.hasEnded && child.isLate()
      }
    }
  }

  /// Whether the time is up. On a busy machine a child gets the time back in which it was ready to
  /// run and had no processor, or an honest backend would be said to hang; up to a point, since a
  /// loop without end waits, too.
  private func isLate() -> Bool {
    guard charness_now() >= deadline else { return false }
    let limit = UInt64(settings.limit(for: test) * 1e9)
    deadline = started &+ limit &+ min(charness_waited(child.pid), 9 * limit)
    return charness_now() >= deadline
  }

  private func drain() {
    report.drain(child.report, limit: 4 << 20)
    output.drain(child.output, limit: 16384)
  }

  /// Ends and judges it. Throws when the harness, not the backend, is at fault.
  func finish() throws(HarnessFault) -> ChildAccount {
    drain()
    let place = placeText()
    defer { charness_shared_free(shared, sharedDescriptor) }
    let status = try zygote.end(&child)
    guard status >= 0 else { throw HarnessFault("\(test.id): how its process ended is not known") }
    var account = ChildAccount(test)
    account.seconds = Double(charness_now() &- started) / 1e9
    var crashed = false, said = 0
    for line in report.bytes.split(separator: UInt8(ascii: "\n")) {
      guard let line = ReportLine(String(decoding: line, as: UTF8.self)) else { continue }
      said += 1
      if case .crash = line { crashed = true }
      account.take(line)
    }
    judge(status, place, &account, crashed: crashed, said: said)
    saveCase(&account)
    if !timedOut, status & 0x7f == 0, (status >> 8) & 0xff == CHARNESS_FAULT {
      throw HarnessFault("\(test.id): the child process failed: \(outputText)")
    }
    return account
  }

  private func judge(
    _ status: Int32, _ place: String, _ account: inout ChildAccount, crashed: Bool, said: Int
  ) {
    let signal = status & 0x7f
    let printed = outputText
    let isSanitizer = printed.contains("Sanitizer")
    if isSanitizer {
      // A race has two sides, each with its stack.
      account.add("a sanitizer reports: \(outputText(limit: 6000))")
      return
    }
    if account.isComplete {
      let rule = test.group == .load ? "load/quiet" : "lifecycle/prints-nothing"
      if !printed.isEmpty { account.add("printed: \(printed)", rule) }
      return
    }
    if timedOut {
      account.add("was not done within \(fixed(settings.limit(for: test), 0)) s\(place)")
    } else if signal != 0 {
      // abort() with a last word is a run-time library that has found something; without, it is
      // meant.
      if signal == SIGABRT, printed.isEmpty {
        account.findings.removeAll { $0.message.hasPrefix("signal \(SIGABRT) ") }
        account.add("the process was ended by abort()\(place)", endRule)
      } else if !crashed {
        account.add("died of signal \(signal) (\(String(cString: strsignal(signal))))\(place)")
      } else if !printed.isEmpty, let last = account.findings.popLast() {
        account.add("\(last.message); printed: \(printed)", last.owner)
      }
    } else {
      account.add(
        "the process was ended with exit code \((status >> 8) & 0xff)\(place)", endRule)
    }
  }

  /// Whose rule it is that the process goes on. A library that ends it while it is opened cannot be
  /// opened.
  private var endRule: String { test.group == .load ? test.id : "lifecycle/no-exit" }

  private var outputText: String { outputText(limit: 600) }

  private func outputText(limit: Int) -> String {
    clean(String(decoding: output.bytes, as: UTF8.self), limit: limit)
  }

  /// Where the child was, by its own account.
  private func placeText() -> String {
    // The child may be writing still; what is read is bytes and numbers, each with a limit.
    let name = withUnsafeBytes(of: shared.pointee.callback) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard !name.isEmpty else { return "" }
    return
      ", in \(clean(name))(), channel \(shared.pointee.channel), packet \(shared.pointee.packet)"
  }

  /// Writes the fuzz case that was being tried when the child failed.
  private func saveCase(_ account: inout ChildAccount) {
    let size = Int(shared.pointee.case_size)
    guard test.group == .fuzz, settings.replay == nil, !account.findings.isEmpty, size > 0,
      size <= Int(CHARNESS_CASE_MAX)
    else { return }
    // `size` is within the room for a case, in a mapping that is still there.
    let bytes = UnsafeRawBufferPointer(start: charness_case_bytes(shared), count: size)
    let name = (account.backend?.name ?? "backend") + "-" + test.id.split(separator: "/").last!
    let worker = test.worker == 0 ? "" : "-\(test.worker)"
    let path = "\(settings.artifacts)/\(name)-\(settings.seed)\(worker).case"
    guard writeFile(path, bytes) else { return }
    for index in account.findings.indices { account.findings[index].caseFile = path }
  }
}
