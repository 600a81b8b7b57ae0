import Foundation

/// A guest under protection: a stock primary, `multifd receive --colo` as its standby, perhaps with
/// relays in front of it, and then the loss of the primary and the failover into another stock
/// QEMU.
public final class Protection: Sendable {
  /// What becomes of the guest when the primary is lost.
  public enum OnLoss: String, Sendable, CaseIterable {
    /// `receive` ends; `multifd failover` is a command of its own.
    case hold
    /// `receive --on-loss failover`.
    case failover
    /// `receive --on-loss failover --spare`.
    case spare
  }

  /// The guest runs again.
  public struct Survivor: Sendable {
    /// Where.
    public let qemu: FailedOverQEMU
    /// The checkpoint it went on from.
    public let checkpoint: Int
    /// What the standby reported at the loss: `pause`, `transfer`, `commit`, `cache-peak` …
    public let report: JSON
    /// What the failover reported: `total-time`, `load-time`, `mapped` …
    public let failover: JSON
    /// When the primary got its SIGKILL.
    public let killedAt: ContinuousClock.Instant
    /// From SIGKILL of the primary to the guest's first step, as the new QEMU's own event tells it.
    public let afterKill: Duration
    /// The same from the moment at which the kernel had taken the dead primary apart: its sockets
    /// are closed then.
    public let afterEnd: Duration
    /// The most memory the standby used beyond the guest's RAM.
    public let memory: MemorySampler.Peak
  }

  /// The primary.
  public let primary: any GuestHost
  /// The checkpoints.
  public let session: COLOSession
  /// The standby.
  public let standby: MultiFDProcess
  /// Its store.
  public let store: String
  private let onLoss: OnLoss
  private let place: FailoverPlace
  private let sampler: MemorySampler
  private let folder: TemporaryFolder
  private let proxy: Proxy?
  private let chain: RelayChain?
  private let recording: TemporaryFolder?

  /// Protects the guest of `primary`; returns when checkpoints are being taken.
  ///
  /// - Parameters:
  ///   - arguments: more of them for `multifd receive`.
  ///   - heldAt: the checkpoint whose RECEIVED and LOADED never reach the primary: its guest stays
  ///     stopped there.
  ///   - relays: what each relay is told with `--compression`, the one next to the primary first.
  ///   - path: the standby's store; nil: in a folder of its own.
  public init(
    _ primary: any GuestHost, _ setup: MigrationSetup, cache: String = "sparse",
    onLoss: OnLoss = .hold, arguments: [String] = [], heldAt: Int? = nil, relays: [String?] = [],
    store path: String? = nil
  ) throws {
    self.primary = primary
    self.onLoss = onLoss
    folder = try TemporaryFolder(.memory(bytes: primary.machine.used << 21))
    store = path ?? folder("store")
    place = try FailoverPlace(
      primary.version, primary.machine, attaches: onLoss != .failover)
    var words = [
      "receive", "--listen", "tcp:127.0.0.1:0", "--store", store, "--colo", "--cache", cache,
      "--json", "--progress", "none",
    ]
    words += arguments
    if onLoss != .hold { words += ["--on-loss", "failover"] }
    if onLoss != .hold, !arguments.contains("--fence") { words.append("--no-fence") }
    if onLoss == .spare { words += ["--spare"] }
    if onLoss != .hold { words += ["--"] + place.command }
    standby = try MultiFDProcess(words)
    var uri = try standby.waitListening()
    let recording = heldAt == nil ? nil : try TemporaryFolder(.memory(bytes: 1 << 30))
    self.recording = recording
    proxy = try heldAt.map {
      try Self.proxy(uri, heldAt: $0, primary.version, recording?.path)
    }
    if let proxy { uri = "tcp:127.0.0.1:\(proxy.port)" }
    chain = relays.isEmpty ? nil : try RelayChain(to: "link:" + uri, relays)
    if let chain { uri = chain.entry }
    sampler = MemorySampler(store: store, process: standby.process)
    do { session = try COLOSession(primary, to: uri, setup) } catch {
      throw LabError(
        "\(error) standby: \(standby.process.errors.text.suffix(400)) \(chain?.complaints ?? "")")
    }
  }

  /// Waits until a spare QEMU, if there is one, can take the guest.
  public func waitSpare() throws {
    guard onLoss == .spare else { return }
    let waits = standby.process.errors.wait(.seconds(30)) {
      $0.text.hasPrefix("multifd: spare QEMU waits") ? true : nil
    }
    guard waits == true else {
      throw LabError("no spare QEMU: \(standby.process.errors.text.suffix(400))")
    }
  }

  /// Ends the standby and removes the store.
  public func end() {
    proxy?.close()
    chain?.end()
    standby.process.kill()
    _ = standby.process.wait(.seconds(10))
    folder.remove()
    recording?.remove()
  }

  /// Kills the primary, and lets the guest go on.
  public func failOver() throws -> Survivor {
    if onLoss == .failover {
      // The QEMU of the rehearsal has had the same sockets.
      _ = standby.process.errors.wait(.seconds(60)) { $0.text.contains("rehearsed: ") ? () : nil }
      place.attach()
    }
    let (killedAt, killed) = (ContinuousClock.now, Self.wallClock)
    primary.killNow()
    let ended = Self.wallClock
    let memory = sampler.stop()
    let result = try standby.wait(.seconds(120))
    var reports = JSON.objects(in: result.output)
    guard result.code == (onLoss == .hold ? 3 : 5), let report = reports.first else {
      throw LabError("the standby ended with \(result)")
    }
    try chain?.expectProtected()
    if onLoss == .hold { reports.append(try failOverByHand()) }
    guard reports.count == 2, let pid = reports[1]["pid"].int else {
      throw LabError("no failover: \(result)")
    }
    let qemu = try place.qemu(pid: pid)
    guard let resumed = qemu.waitResumed(.seconds(30)) else {
      throw LabError("the new QEMU never said RESUME: \(reports[1].text)")
    }
    return Survivor(
      qemu: qemu, checkpoint: reports[1]["checkpoint"].int ?? 0, report: report,
      failover: reports[1], killedAt: killedAt, afterKill: resumed.timestamp - killed,
      afterEnd: resumed.timestamp - ended, memory: memory)
  }

  private func failOverByHand() throws -> JSON {
    let words = ["failover", "--store", store, "--fence", "true", "--json", "--"]
    let result = try MultiFDProcess.run(words + place.command)
    guard result.code == 5, let summary = JSON.objects(in: result.output).first else {
      throw LabError("multifd failover: \(result)")
    }
    return summary
  }

  /// The beats that a guest which goes on from checkpoint `number` may begin with: not before what
  /// the primary's console had said when it stopped for that checkpoint, and not after what it said
  /// at all.
  public func expectedBeats(after number: Int) -> ClosedRange<Int> {
    let beats = primary.console.heartbeats
    let checkpoints = session.checkpoints
    let last = beats.last?.number ?? 0
    guard number > 0, number <= checkpoints.count else { return 0...last + 2 }
    let stopped = checkpoints[number - 1].stopped
    let first = beats.last { $0.line.time <= stopped }?.number ?? 0
    // The beat under way may come out on either side.
    return first...max(first, last) + 2
  }

  /// Lets the answers to everything before checkpoint `number` pass, and its REPLY.
  private static func proxy(
    _ uri: String, heldAt number: Int, _ version: QEMUVersion, _ record: String?
  ) throws -> Proxy {
    guard let port = uri.split(separator: ":").last.flatMap({ Int($0) }) else {
      throw LabError("no port in \(uri)")
    }
    return try Proxy(
      to: port, record: record, cuts: [hold(at: number, version, connection: 0)])
  }

  /// Keeps the guest of a COLO primary stopped in checkpoint `number`.
  ///
  /// - Parameter connection: the primary's main channel, as a ``Proxy`` numbers it.
  public static func hold(
    at number: Int, _ version: QEMUVersion, connection: Int
  ) -> Proxy.Cut {
    // PONG and SHUT, of 11.1, 8 bytes each; READY 4; for each checkpoint REPLY, RECEIVED, LOADED: 4
    // each.
    let bytes = (version >= .v111 ? 16 : 0) + 4 + 12 * (number - 1) + 4
    return .init(connection: connection, direction: .toClient, after: bytes, .stall)
  }

  /// Waits until all of checkpoint `number` is in the store's RAM files.
  public func waitStored(_ number: Int, _ timeout: Duration) throws {
    let deadline = ContinuousClock.now + timeout
    while (try? String(contentsOfFile: store + "/redone", encoding: .utf8)) != "\(number)\n" {
      guard ContinuousClock.now < deadline, standby.process.isRunning else {
        throw LabError(
          "checkpoint \(number) did not come within \(timeout): \(standby.process.errors.text)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Compares the memory of the primary, held in a checkpoint that is stored, with the store.
  ///
  /// - Returns: how many pages the primary's guest has written that QEMU never sent, uncompressed
  ///   streams provided.
  /// - Throws: when a page that was sent is not what the store has.
  public func pagesNeverSent(_ qemu: QEMU) throws -> Int {
    let pages = try RAMComparison.differences(process: qemu, store + "/ram/pc.ram")
    guard let recording, !pages.isEmpty else { return pages.count }
    let names = try FileManager.default.contentsOfDirectory(atPath: recording.path)
    for name in names where name.hasSuffix(".c2s") {
      let stream = try Data(
        contentsOf: URL(fileURLWithPath: recording(name)), options: .alwaysMapped)
      if let index = PageSearch(pages.map(\.page)).first(in: stream) {
        let offset = pages[index].offset
        throw LabError("page \(offset) was sent, and the store has something else")
      }
    }
    return pages.count
  }

  private static var wallClock: Duration {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
  }
}
