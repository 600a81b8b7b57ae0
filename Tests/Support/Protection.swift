import Foundation

/// A guest under protection: a stock primary, `multifd receive --colo` as its standby, and then the loss of the
/// primary and the failover into another stock QEMU.
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
    /// From SIGKILL of the primary to the guest's first step, as the new QEMU's own event tells it.
    public let afterKill: Duration
    /// The same from the moment at which the kernel had taken the dead primary apart: its sockets are closed then.
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

  /// Protects the guest of `primary`; returns when checkpoints are being taken.
  ///
  /// - Parameters:
  ///   - arguments: more of them for `multifd receive`.
  public init(
    _ primary: any GuestHost, _ setup: MigrationSetup, cache: String = "sparse",
    onLoss: OnLoss = .hold, arguments: [String] = []
  ) throws {
    self.primary = primary
    self.onLoss = onLoss
    folder = try TemporaryFolder(.memory(bytes: primary.machine.memory << 21))
    store = folder("store")
    place = try FailoverPlace(primary.version, primary.machine)
    var words = [
      "receive", "--listen", "tcp:127.0.0.1:0", "--store", store, "--colo", "--cache", cache,
      "--json", "--progress", "none",
    ]
    words += arguments
    if onLoss != .hold { words += ["--on-loss", "failover"] }
    if onLoss == .spare { words += ["--spare"] }
    if onLoss != .hold { words += ["--"] + place.command }
    standby = try MultiFDProcess(words)
    let uri = try standby.waitListening()
    sampler = MemorySampler(store: store, pid: standby.process.pid)
    do { session = try COLOSession(primary, to: uri, setup) } catch {
      throw LabError("\(error) standby: \(standby.process.errors.text.suffix(400))")
    }
  }

  /// Waits until a spare QEMU, if there is one, can take the guest.
  public func waitSpare() throws {
    guard onLoss == .spare else { return }
    _ = standby.process.errors.wait(.seconds(30)) {
      $0.text.hasPrefix("multifd: started ") ? true : nil
    }
    // Started is not yet waiting: it maps the files and listens.
    Thread.sleep(forTimeInterval: 1)
  }

  /// Ends the standby and removes the store.
  public func end() {
    standby.process.kill()
    _ = standby.process.wait(.seconds(10))
    folder.remove()
  }

  /// Kills the primary, and lets the guest go on.
  public func failOver() throws -> Survivor {
    let killed = Self.wallClock
    primary.killNow()
    let ended = Self.wallClock
    let memory = sampler.stop()
    let result = try standby.wait(.seconds(120))
    var reports = Self.objects(result.output)
    guard result.code == (onLoss == .hold ? 3 : 5), let report = reports.first else {
      throw LabError("the standby ended with \(result)")
    }
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
      failover: reports[1], afterKill: resumed.timestamp - killed,
      afterEnd: resumed.timestamp - ended, memory: memory)
  }

  private func failOverByHand() throws -> JSON {
    let words = ["failover", "--store", store, "--fence", "true", "--json", "--"]
    let result = try MultiFDProcess.run(words + place.command)
    guard result.code == 5, let summary = Self.objects(result.output).first else {
      throw LabError("multifd failover: \(result)")
    }
    return summary
  }

  /// The beats that a guest which goes on from checkpoint `number` may begin with: not before what the primary's
  /// console had said when it stopped for that checkpoint, and not after what it said at all.
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

  private static var wallClock: Duration {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
  }

  /// The JSON objects of a text that has one after the other, each beginning and ending at a line's start.
  private static func objects(_ text: String) -> [JSON] {
    var result: [JSON] = []
    var lines: [Substring] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      lines.append(line)
      if line == "}" {
        if let value = try? JSON(parsing: lines.joined(separator: "\n").utf8) {
          result.append(value)
        }
        lines = []
      }
    }
    return result
  }
}
