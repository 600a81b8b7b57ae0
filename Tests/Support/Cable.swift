import Foundation

/// A cable between two machines that loses packets, is slow, or brings them out of order: this
/// process's network namespace is the one machine, that of a process of its own the other. What
/// netem does for a kernel that has it is done here, for one that has not, between two TUN devices;
/// so TCP sees what it would see of a bad line, and not only what a relay of bytes can do.
///
///     this process's namespace                         far namespace
///     loopback                                         loopback
///     192.0.2.1   ══ tun ══ this process ══ tun ══     192.0.2.2
///
/// Nothing of it is in the machine's own namespaces, and it is gone with the process.
public final class Cable: Sendable {
  /// What becomes of packets.
  public struct Weather: Sendable, Equatable {
    /// How long each takes.
    public var latency: Duration
    /// How much longer at the most, by chance: later ones overtake.
    public var jitter: Duration
    /// How many of 1000 are lost.
    public var loss: Int

    /// A cable that is as good as none.
    public init(latency: Duration = .zero, jitter: Duration = .zero, loss: Int = 0) {
      (self.latency, self.jitter, self.loss) = (latency, jitter, loss)
    }
  }

  /// The far machine's address.
  public let address = "192.0.2.2"
  /// What runs a program on the far machine: the process becomes the program.
  public var wrapper: [String] { ["/usr/bin/nsenter", "--net=\(namespace)", "--"] }
  /// The process whose namespace the far machine is.
  public var owner: pid_t { far.pid }

  private var namespace: String { "/proc/\(far.pid)/ns/net" }
  private let far: ChildProcess
  private let weather: Monitor<Weather>

  /// Lays it. To be called by a process that ``moves`` has moved.
  public init(seed: UInt64) throws {
    far = try ChildProcess(["/usr/bin/unshare", "--net", "/bin/sleep", "infinity"])
    weather = Monitor(Weather())
    let deadline = ContinuousClock.now + .seconds(10)
    while !OtherProcess.commandLine(far.pid).hasPrefix("/bin/sleep\0")
      || Self.network(far.pid) == Self.network(getpid())
    {
      guard ContinuousClock.now < deadline, far.isRunning else {
        throw LabError("a network namespace: \(far.errors.text)")
      }
      Thread.sleep(forTimeInterval: 0.01)
    }
    let devices = (near: try Self.open("near"), far: try Self.open("far"))
    try Self.ip([], "link set far netns \(far.pid)")
    for (side, name, address) in [([], "near", "192.0.2.1"), (wrapper, "far", self.address)] {
      try Self.ip(side, "link set lo up")
      try Self.ip(side, "address add \(address)/24 dev \(name)")
      // Few packets, for each passes this process.
      try Self.ip(side, "link set \(name) up mtu 16000")
    }
    CableWay(from: devices.near, to: devices.far, weather, seed: seed).start()
    CableWay(from: devices.far, to: devices.near, weather, seed: seed &+ 1).start()
  }

  /// From now on.
  public func set(_ weather: Weather) { self.weather.update { $0 = weather } }

  // MARK: A process of its own

  /// Has this process go on, as what it is, in a network namespace of its own, with `name` in its
  /// environment and in that of all that it starts. Returns only where it is there.
  ///
  /// - Throws: why it cannot be had on this machine.
  public static func move(marking name: String) throws {
    if ProcessInfo.processInfo.environment[name] == "\(getpid())" { return }
    guard geteuid() == 0 else { throw LabError("network namespaces take root") }
    guard access("/dev/net/tun", R_OK | W_OK) == 0 else {
      throw LabError("there is no /dev/net/tun")
    }
    setenv(name, "\(getpid())", 1)
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let words = ["/usr/bin/unshare", "--net", "--", program] + CommandLine.arguments.dropFirst()
    // Pointers of strdup(3)'s, which live until the process is another program.
    var pointers = words.map { strdup($0) } + [nil]
    execv(words[0], &pointers)
    throw LabError("\(words[0]): \(String(cString: strerror(errno)))")
  }

  // MARK: Inside

  private static func network(_ pid: pid_t) -> String? {
    try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/net")
  }

  /// A TUN device: what is read from it was sent into it, a packet each time.
  private static func open(_ name: String) throws -> Int32 {
    let descriptor = Glibc.open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    // A struct ifreq: 16 bytes of name, then IFF_TUN | IFF_NO_PI.
    var request = [UInt8](repeating: 0, count: 40)
    request.replaceSubrange(0..<name.utf8.count, with: name.utf8)
    (request[16], request[17]) = (0x01, 0x10)
    // The array is not resized while its storage is lent to ioctl(TUNSETIFF).
    let result = request.withUnsafeMutableBytes {
      ioctl(descriptor, 0x4004_54ca, $0.baseAddress!)
    }
    guard descriptor >= 0, result == 0 else {
      throw LabError("a TUN device: " + String(cString: strerror(errno)))
    }
    return descriptor
  }

  private static func ip(_ wrapper: [String], _ words: String) throws {
    let process = try ChildProcess(
      wrapper + ["/sbin/ip"] + words.split(separator: " ").map(String.init))
    guard process.wait(.seconds(10)) == .code(0) else {
      process.kill()
      throw LabError("ip \(words): \(process.errors.text)")
    }
  }
}

/// One direction of a cable.
private final class CableWay: Sendable {
  private struct Packet {
    var due: ContinuousClock.Instant
    var bytes: [UInt8]
  }

  private struct State {
    /// By when they are due.
    var packets: [Packet] = []
    var random: SeededGenerator
  }

  /// As many as netem has by default; more are dropped.
  private static let most = 1000
  private let (source, target): (Int32, Int32)
  private let weather: Monitor<Cable.Weather>
  private let state: Monitor<State>

  init(from source: Int32, to target: Int32, _ weather: Monitor<Cable.Weather>, seed: UInt64) {
    (self.source, self.target, self.weather) = (source, target, weather)
    state = Monitor(State(random: SeededGenerator(seed: seed)))
  }

  func start() {
    Thread.detachNewThread { self.take() }
    Thread.detachNewThread { self.deliver() }
  }

  private func take() {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = Sockets.read(source, &buffer), count > 0 {
      let weather = weather.read { $0 }
      let isClear = weather == Cable.Weather() && state.read { $0.packets.isEmpty }
      guard !isClear else {
        put(buffer[..<count])
        continue
      }
      let bytes = Array(buffer[..<count])
      state.update { state in
        guard Int.random(in: 0..<1000, using: &state.random) >= weather.loss,
          state.packets.count < Self.most
        else { return }
        let more = Double.random(in: 0...1, using: &state.random)
        let due = ContinuousClock.now + weather.latency + weather.jitter * more
        let place = state.packets.lastIndex { $0.due <= due }.map { $0 + 1 } ?? 0
        state.packets.insert(Packet(due: due, bytes: bytes), at: place)
      }
    }
  }

  private func deliver() {
    while true {
      let next = state.wait(.seconds(86_400)) { $0.packets.first?.due } ?? .now
      let packet = state.wait(ContinuousClock.now.duration(to: next)) { state -> Packet? in
        guard let first = state.packets.first, first.due <= .now else { return nil }
        return state.packets.removeFirst()
      }
      if let packet { put(packet.bytes[...]) }
    }
  }

  /// One that the device does not take is lost.
  private func put(_ packet: ArraySlice<UInt8>) {
    // The slice's storage is valid within the closure.
    _ = packet.withUnsafeBytes { write(target, $0.baseAddress, $0.count) }
  }
}
