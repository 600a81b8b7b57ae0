import Migration
import Transport

/// One disk's second leg: a block job of QEMU's that copies the disk to the standby once and from
/// then on writes there what the guest writes, before the guest hears of it.
///
/// One job does all of it: the first copy, the writes, the alarm (it stops when the standby's side
/// fails, and the guest goes on), and the list of blocks that are behind, so that it can be gone on
/// with.
struct DiskMirror {
  /// How far it is.
  struct Progress: Equatable {
    /// Bytes that are there.
    var copied: Int
    /// Bytes in all, those that were written meanwhile included.
    var total: Int
    /// The standby's disk is as this one, and stays so.
    var isSynced: Bool
    /// The standby's side has failed.
    var hasFailed: Bool
  }

  let disk: Assessment.Disk
  private var job: QMPValue { .string(ProtectNames.job(disk.name)) }
  private var target: QMPValue { .string(ProtectNames.target(disk.name)) }

  /// A mirror of this disk.
  init(_ disk: Assessment.Disk) { self.disk = disk }

  /// How far it is, by what `query-block-jobs` says; nil where there is no job.
  func progress(_ jobs: QMPValue) -> Progress? {
    guard let entry = jobs.elements.first(where: { $0["device"] == job }) else { return nil }
    let isSound = entry["io-status"].string == "ok"
    let isReady = entry["status"].string == "ready" || entry["status"].string == "standby"
    return Progress(
      copied: entry["offset"].int ?? 0, total: entry["len"].int ?? 0,
      isSynced: isSound && isReady && entry["actively-synced"].bool == true,
      hasFailed: !isSound)
  }

  /// Begins a first copy.
  ///
  /// - Parameter server: where the standby has its disks.
  func start(_ monitor: some GuestMonitor, server: Endpoint, within seconds: Double)
    throws(MonitorError)
  {
    try monitor.execute(
      "blockdev-add",
      [
        "driver": "nbd", "node-name": target, "export": .string(disk.name),
        "server": Self.address(server),
      ], within: seconds)
    do {
      try monitor.execute(
        "blockdev-mirror",
        [
          "job-id": job, "device": .string(disk.node), "target": target, "sync": "full",
          "copy-mode": "write-blocking", "on-target-error": "stop",
          "filter-node-name": .string(ProtectNames.filter(disk.name)),
        ], within: seconds)
    } catch {
      _ = try? monitor.execute("blockdev-del", ["node-name": target], within: seconds)
      throw error
    }
  }

  /// Whether its job goes to that server.
  func leads(to server: Endpoint, _ nodes: QMPValue) -> Bool {
    let node = nodes.elements.first { $0["node-name"] == target }
    guard let file = node?["file"].string else { return false }
    switch server {
    case .tcp(let host, let port):
      let host = host.contains(":") ? "[\(host)]" : host
      return file == "nbd://\(host):\(port)/\(disk.name)"
    case .unix(let path): return file.hasPrefix("nbd+unix:") && file.hasSuffix("socket=\(path)")
    case .fd: return false
    }
  }

  /// Has a job that has failed go on. Whether it can shows in its ``progress(_:)``.
  ///
  /// QEMU's NBD client makes its next connection when it is asked for something, and a job that
  /// stands still asks for nothing.
  func resume(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    let name = ProtectNames.target(disk.name)
    _ = try monitor.human("qemu-io \(name) flush", within: seconds)
    do { try monitor.execute("block-job-resume", ["device": job], within: seconds) } catch
      where error.kind == .refused
    {
      // Nobody has stopped it: it has not noticed.
    }
  }

  /// Takes it out. What is not there need not be.
  func remove(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    let deadline = ContinuousClock.now + .seconds(seconds)
    do {
      try monitor.execute("block-job-cancel", ["device": job, "force": true], within: seconds)
    } catch  where error.kind == .refused {}
    while progress(try monitor.execute("query-block-jobs", within: seconds)) != nil {
      guard ContinuousClock.now < deadline else {
        throw MonitorError(.silent, "the job \(job.string ?? "") does not end")
      }
      Pause.short()
    }
    do { try monitor.execute("blockdev-del", ["node-name": target], within: seconds) } catch
      where error.kind == .refused
    {}
  }

  private static func address(_ server: Endpoint) -> QMPValue {
    switch server {
    case .tcp(let host, let port):
      ["type": "inet", "host": .string(host), "port": .string(String(port))]
    case .unix(let path): ["type": "unix", "path": .string(path)]
    // A standby's disks are somewhere else, and never a descriptor of ours.
    case .fd: .null
    }
  }
}
