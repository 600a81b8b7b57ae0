import Foundation

/// A stock QEMU that is a COLO primary: its checkpoints as its own events tell them.
///
/// The guest stops and runs again once for precopy, and then once for each checkpoint. It stands
/// still for all of precopy, where a source under TCG would forget pages; `GuestHost.prepareToMove`
/// says more.
public struct COLOSession: Sendable {
  /// The primary.
  public let primary: any GuestHost
  private let firstEvent: Int

  /// Makes `primary` migrate to `uri` and wait until COLO has begun. Throws QEMU's reason when it
  /// does not begin.
  public init(
    _ primary: any GuestHost, to uri: String, _ setup: MigrationSetup,
    _ timeout: Duration = .seconds(120)
  ) throws {
    self.primary = primary
    try setup.apply(to: primary, .source)
    firstEvent = primary.qmp.eventCount
    try primary.prepareToMove(isLive: false)
    try primary.qmp.execute("migrate", ["uri": .string(uri)])
    let ends = ["colo", "failed", "completed", "cancelled"]
    let status = primary.qmp.waitEvent(from: firstEvent, timeout) { event -> String? in
      guard event.name == "MIGRATION", let status = event.data["status"].string else { return nil }
      return ends.contains(status) ? status : nil
    }
    guard status == "colo", stopsAndResumes(atLeast: 1, timeout) else {
      let said = (try? primary.qmp.execute("query-migrate", timeout: .seconds(5)))?.text ?? ""
      throw LabError("the primary is \(status ?? "silent") and not in colo: \(said)")
    }
  }

  /// Waits for `count` checkpoints more than there were at event `start`; gives how many there
  /// were.
  public func waitCheckpoints(_ count: Int, _ timeout: Duration) -> Int {
    _ = stopsAndResumes(atLeast: count + 1, timeout)
    return checkpoints.count
  }

  private func stopsAndResumes(atLeast count: Int, _ timeout: Duration) -> Bool {
    var seen = 0
    return primary.qmp.waitEvent(from: firstEvent, timeout) { event -> Bool? in
      if event.name == "RESUME" { seen += 1 }
      return seen >= count ? true : nil
    } ?? false
  }

  /// One stop of the guest for a checkpoint.
  public struct Checkpoint: Sendable {
    /// When the stop was told here.
    public let stopped: ContinuousClock.Instant
    /// How long the guest stood still, on QEMU's own clock; nil when it has not run since.
    public let pause: Duration?
  }

  /// The checkpoints so far, precopy left out.
  public var checkpoints: [Checkpoint] {
    var result: [Checkpoint] = []
    var open: QMPClient.Event?
    for event in primary.qmp.events(from: firstEvent) {
      if event.name == "STOP" {
        open = event
      } else if event.name == "RESUME", let stop = open {
        result.append(Checkpoint(stopped: stop.time, pause: event.timestamp - stop.timestamp))
        open = nil
      }
    }
    if let open { result.append(Checkpoint(stopped: open.time, pause: nil)) }
    return Array(result.dropFirst())
  }

  /// How long the guest stood still, for each checkpoint that ended.
  public var pauses: [Duration] { checkpoints.compactMap(\.pause) }
}
