import Foundation

/// Two network namespaces and a cable between them that lets only so much through: two machines,
/// as far as their network is concerned. It takes root, and goes away with this value, at the
/// latest when the process exits; what a process left behind that was killed, the next one removes.
///
///     near namespace                          far namespace
///     loopback                                loopback
///     192.0.2.1   ══ veth, tbf each way ══    192.0.2.2
public final class LimitedLink: Sendable {
  /// One end of it.
  public struct Side: Sendable {
    /// The namespace's name.
    public let namespace: String
    /// Its address on the link.
    public let address: String
    /// What runs a program there: the process becomes the program.
    public var wrapper: [String] { [LimitedLink.program("ip"), "netns", "exec", namespace] }
  }

  /// The source's end.
  public let near: Side
  /// The destination's end.
  public let far: Side

  /// Lays one.
  ///
  /// - Parameter megabits: what goes through it each way, in 10^6 bits a second.
  /// - Throws: why it cannot be had on this machine.
  public init(megabits: Int) throws {
    guard geteuid() == 0 else { throw LabError("network namespaces take root") }
    _ = Self.removeLeftovers
    let number = Self.count.update { count -> Int in
      count += 1
      return count
    }
    let name = Self.prefix + "\(getpid())-\(number)"
    near = Side(namespace: name + "-near", address: "192.0.2.1")
    far = Side(namespace: name + "-far", address: "192.0.2.2")
    _ = Self.removeAllAtExit
    do {
      for side in [near, far] {
        Self.alive.update { _ = $0.insert(side.namespace) }
        try Self.ip("netns", "add", side.namespace)
      }
      try Self.ip(
        "link", "add", "near", "netns", near.namespace, "type", "veth", "peer", "name", "far",
        "netns", far.namespace)
      for (side, device) in [(near, "near"), (far, "far")] {
        try Self.raise(side, device, megabits)
      }
    } catch {
      remove()
      throw error
    }
  }

  deinit { remove() }

  /// Removes it now; processes that are still there keep what they have.
  public func remove() { for side in [near, far] { Self.remove(side.namespace) } }

  // MARK: Inside

  private static let prefix = "multifd-lab-"
  private static let count = Monitor(0)
  private static let alive = Monitor<Set<String>>([])

  private static func raise(_ side: Side, _ device: String, _ megabits: Int) throws {
    let name = side.namespace
    try ip("-n", name, "address", "add", side.address + "/24", "dev", device)
    // A packet of the card's size, and what comes until the timer fires. What waits is left to
    // TCP, which keeps few of its packets here: 50 ms of them are not dropped.
    let burst = max(64 << 10, megabits * 125_000 / 500)
    try run([
      program("tc"), "-n", name, "qdisc", "add", "dev", device, "root", "tbf", "rate",
      "\(megabits)mbit",
      "burst", "\(burst)", "latency", "50ms",
    ])
    for device in ["lo", device] { try ip("-n", name, "link", "set", device, "up") }
  }

  private static func ip(_ arguments: String...) throws { try run([program("ip")] + arguments) }

  private static func run(_ command: [String]) throws {
    let process = try ChildProcess(command)
    let exit = process.wait(.seconds(10))
    guard exit == .code(0) else {
      process.kill()
      let words = process.errors.text.split(whereSeparator: \.isNewline).prefix(2)
      throw LabError(
        "\(command.joined(separator: " ")): \(words.joined(separator: "; "))"
          + (exit == nil ? "no end" : ""))
    }
  }

  /// iproute2's, also for those whose path leaves it out.
  private static func program(_ name: String) -> String {
    ["/usr/sbin/", "/sbin/", "/bin/"].map { $0 + name }
      .first { FileManager.default.isExecutableFile(atPath: $0) } ?? name
  }

  private static func remove(_ namespace: String) {
    guard alive.update({ $0.remove(namespace) }) != nil else { return }
    try? ip("netns", "delete", namespace)
  }

  private static let removeAllAtExit: Void = {
    atexit { for name in LimitedLink.alive.read({ $0 }) { LimitedLink.remove(name) } }
  }()

  /// Those whose process is gone; a process that has got its number since would keep them.
  private static let removeLeftovers: Void = {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []
    for name in names where name.hasPrefix(prefix) {
      let owner = name.dropFirst(prefix.count).prefix { $0.isNumber }
      guard let pid = pid_t(owner), kill(pid, 0) != 0, errno == ESRCH else { continue }
      try? ip("netns", "delete", name)
    }
  }()
}
