import Foundation

/// What is there of everything that a process has started, whoever's child it is now: found by a
/// variable in its environment.
public struct Remains: Sendable {
  private let name: String
  private let spared: Set<pid_t>
  private let cable: Cable

  /// - Parameters:
  ///   - name: the variable that ``Cable/move(marking:)`` has set.
  ///   - cable: the one between the two machines; its process belongs there.
  public init(marked name: String, _ cable: Cable) {
    (self.name, self.cable) = (name, cable)
    spared = [getpid(), cable.owner]
  }

  /// Waits until nothing is left over; else says what is.
  public func expectNone() throws {
    let deadline = ContinuousClock.now + .seconds(8)
    var left = all()
    while !left.isEmpty, ContinuousClock.now < deadline {
      Thread.sleep(forTimeInterval: 0.1)
      left = all()
    }
    guard !left.isEmpty else { return }
    // They are of this process's making, and the next guest's look is not to find them again.
    for pid in processes() { OtherProcess.kill(pid, where: isOurs) }
    throw Inconsistency("left over: \(left.joined(separator: ", "))")
  }

  private func all() -> [String] {
    processes().map { "process \($0) (\(Self.program($0)))" } + sockets() + mounts()
  }

  private func processes() -> [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { !spared.contains($0) && isOurs($0) }
  }

  private func isOurs(_ pid: pid_t) -> Bool {
    let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
    return environment.split(separator: 0).contains { $0.elementsEqual("\(name)=\(getpid())".utf8) }
  }

  private static func program(_ pid: pid_t) -> String {
    let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
    return line.split(separator: 0).prefix(3).map { String(decoding: $0, as: UTF8.self) }
      .joined(separator: " ")
  }

  /// TCP connections that nobody has closed, sockets that listen, and UNIX sockets with a name, in
  /// both namespaces.
  private func sockets() -> [String] {
    ["self", "\(cable.owner)"].flatMap { owner -> [String] in
      let connections = ["tcp", "tcp6"].flatMap { Self.lines("/proc/\(owner)/net/\($0)") }
        .filter { words in
          // ESTABLISHED, CLOSE_WAIT and LISTEN.
          words.count > 3 && ["01", "08", "0A"].contains(words[3])
        }
        .map { "connection \($0[1]) \($0[2]) \($0[3])" }
      let named = Self.lines("/proc/\(owner)/net/unix").compactMap { words in
        words.count > 7 && words[7].hasPrefix("/") ? "socket \(words[7])" : nil
      }
      return connections + named
    }
  }

  private func mounts() -> [String] {
    Self.lines("/proc/self/mountinfo").compactMap { words in
      words.count > 4 && words[4].contains("/mfd.") ? "mount \(words[4])" : nil
    }
  }

  private static func lines(_ path: String) -> [[String]] {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").dropFirst().map {
      $0.split(separator: " ").map(String.init)
    }
  }
}
