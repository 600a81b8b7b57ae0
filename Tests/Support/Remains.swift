import Foundation

/// What is there of everything that a process has started, whoever's child it is now: found by a
/// variable in its environment.
public struct Remains: Sendable {
  private let name: String
  private let spared: Set<pid_t>
  private let cable: Cable
  /// Folders in which QEMUs of `multifd`'s have had sockets.
  private let folders = Monitor<Set<String>>([])

  /// - Parameters:
  ///   - name: the variable that ``Cable/move(marking:)`` has set.
  ///   - cable: the one between the two machines; its process belongs there.
  public init(marked name: String, _ cable: Cable) {
    (self.name, self.cable) = (name, cable)
    spared = [getpid(), cable.owner]
    let folders = folders
    Thread.detachNewThread {
      while true {
        let seen = Self.named(cable).compactMap { path -> String? in
          guard path.hasPrefix("/tmp/multifd-") else { return nil }
          return path.split(separator: "/").prefix(2).map { "/" + $0 }.joined()
        }
        if !seen.isEmpty { folders.update { $0.formUnion(seen) } }
        Thread.sleep(forTimeInterval: 0.1)
      }
    }
  }

  /// Waits until nothing is left over; else says what is.
  ///
  /// - Parameter killed: a guest was broken off, and what was killed then could not remove its
  ///   folders.
  public func expectNone(killed: Bool = false) throws {
    if killed {
      for folder in folders.read({ $0 }) { try? FileManager.default.removeItem(atPath: folder) }
    }
    let deadline = ContinuousClock.now + .seconds(8)
    var left = all()
    while !left.isEmpty, ContinuousClock.now < deadline {
      Thread.sleep(forTimeInterval: 0.1)
      left = all()
    }
    defer { folders.update { $0 = [] } }
    guard !left.isEmpty else { return }
    // They are of this process's making, and the next guest's look is not to find them again.
    for pid in processes() { OtherProcess.kill(pid, where: isOurs) }
    throw Inconsistency("left over: \(left.joined(separator: ", "))")
  }

  private func all() -> [String] {
    processes().map { "process \($0) (\(Self.program($0)))" } + sockets() + mounts()
      + folders.read { $0 }.filter { access($0, F_OK) == 0 }.map { "folder \($0)" }
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
    OtherProcess.commandLine(pid).split(separator: "\0").prefix(3).joined(separator: " ")
  }

  /// TCP connections that nobody has closed, sockets that listen, and UNIX sockets with a name, in
  /// both namespaces.
  private func sockets() -> [String] {
    Self.namespaces(cable).flatMap { owner -> [String] in
      let connections = ["tcp", "tcp6"].flatMap { Self.lines("/proc/\(owner)/net/\($0)") }
        .filter { words in
          // ESTABLISHED, CLOSE_WAIT and LISTEN.
          words.count > 3 && ["01", "08", "0A"].contains(words[3])
        }
        .map { "connection \($0[1]) \($0[2]) \($0[3])" }
      return connections
    } + Self.named(cable).map { "socket \($0)" }
  }

  private static func namespaces(_ cable: Cable) -> [String] { ["self", "\(cable.owner)"] }

  /// Paths of UNIX sockets.
  private static func named(_ cable: Cable) -> [String] {
    namespaces(cable).flatMap { lines("/proc/\($0)/net/unix") }.compactMap { words in
      words.count > 7 && words[7].hasPrefix("/") ? words[7] : nil
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
