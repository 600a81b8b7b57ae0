import Migration
import Transport

/// One disk's second leg: a block job of QEMU's that copies the disk to the standby once and from
/// then on writes there what the guest writes, before the guest hears of it.
///
/// One job does all of it: the first copy, the writes, the alarm (it stops when the standby's side
/// fails, and the guest goes on), and the list of blocks that are behind, so that it can be gone on
/// with.
///
///     device — filter (mf-on-NAME) — the guest's disk
///                  | job mf-NAME
///              quorum of one (mf-NAME) — NBD (mf-1-NAME, mf-2-NAME …)
///
/// The quorum is there so that a connection can be changed for another without ending the job: one
/// that was cut by a yank makes no other for ever, and the standby may be elsewhere next time.
struct DiskMirror {
  /// How far it is.
  struct Progress: Equatable {
    /// Bytes that are there.
    var copied: Int
    /// Bytes in all, those that were written meanwhile included.
    var total: Int
    /// The standby's disk is as this one, and stays so.
    var isSynced: Bool
    /// The first copy is done.
    var isReady: Bool
    /// The standby's side has failed.
    var hasFailed: Bool
    /// It waits to be resumed, which nobody else will do. All that is left of a failure where
    /// somebody has let the guest go on since: QEMU's `cont` makes every job sound that has failed.
    var hasStopped: Bool
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
      isReady: isReady, hasFailed: !isSound,
      hasStopped: !isSound || entry["paused"].bool == true)
  }

  /// Begins a first copy.
  ///
  /// - Parameter server: where the standby has its disks.
  func start(_ monitor: some GuestMonitor, server: StandbyDisks, within seconds: Double)
    throws(MonitorError)
  {
    let leg = try connect(monitor, server, within: seconds)
    do {
      try monitor.execute(
        "blockdev-add",
        ["driver": "quorum", "node-name": target, "children": [leg], "vote-threshold": 1],
        within: seconds)
      try monitor.execute(
        "blockdev-mirror",
        [
          "job-id": job, "device": .string(disk.node), "target": target, "sync": "full",
          "copy-mode": "write-blocking",
          // One that ended by itself would do so beside the guest's writes: see `remove`.
          "on-target-error": "stop", "on-source-error": "stop",
          "filter-node-name": .string(ProtectNames.filter(disk.name)),
        ], within: seconds)
    } catch {
      for node in [target, leg] {
        _ = try? monitor.execute("blockdev-del", ["node-name": node], within: seconds)
      }
      throw error
    }
  }

  /// Goes on, over a new connection, with a job that is there: what the standby lacks is what the
  /// job remembers.
  ///
  /// Where the standby takes no other connection yet, because it has the one of before or one that
  /// QEMU has made again by itself for a write of the guest's, that one is cut: the next try will do.
  func resume(_ monitor: some GuestMonitor, server: StandbyDisks, within seconds: Double)
    throws(MonitorError)
  {
    let leg: QMPValue
    do { leg = try connect(monitor, server, within: seconds) } catch  where error.kind == .refused {
      return try cut(monitor, within: seconds)
    }
    let nodes = try Self.nodes(monitor, within: seconds)
    try monitor.execute("x-blockdev-change", ["parent": target, "node": leg], within: seconds)
    for old in legs(nodes) {
      try monitor.execute(
        "x-blockdev-change", ["parent": target, "child": old["child"]], within: seconds)
      try monitor.execute("blockdev-del", ["node-name": old["node-name"]], within: seconds)
    }
    do { try monitor.execute("block-job-resume", ["device": job], within: seconds) } catch
      where error.kind == .refused
    {
      // Nobody has stopped it.
    }
  }

  /// Cuts its connection, so that the standby takes another.
  private func cut(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    let instances = legs(try Self.nodes(monitor, within: seconds)).map { leg -> QMPValue in
      ["type": "block-node", "node-name": leg["node-name"]]
    }
    do { try monitor.execute("yank", ["instances": .array(instances)], within: seconds) } catch
      where error.kind == .refused
    {
      // It is cut.
    }
  }

  /// Whether its job was begun for that server: what it remembers is of no use to another.
  func leads(to server: Endpoint, _ monitor: some GuestMonitor, within seconds: Double)
    throws(MonitorError) -> Bool
  {
    let nodes = try Self.nodes(monitor, within: seconds)
    let files = legs(nodes).map { leg in
      nodes.first { $0["node-name"] == leg["node-name"] }?["file"].string ?? ""
    }
    return !files.isEmpty && files.allSatisfy { Self.isFile($0, at: server) }
  }

  /// Whether a node's file, as QEMU tells it, is at that server.
  private static func isFile(_ file: String, at server: Endpoint) -> Bool {
    switch server {
    case .tcp(let host, let port):
      // A QEMU (11.1) tells addresses of IPv6 without their brackets.
      [host, "[\(host)]"].contains { file.hasPrefix("nbd://\($0):\(port)/") }
    case .unix(let path): file.hasPrefix("nbd+unix:///") && file.hasSuffix("?socket=\(path)")
    case .fd: false
    }
  }

  /// The quorum's children, as it tells them.
  private func legs(_ nodes: [QMPValue]) -> [QMPValue] {
    nodes.first { $0["node-name"] == target }?["children"].elements ?? []
  }

  /// Makes a connection to the standby's disk: a block node, whose name is the result.
  private func connect(
    _ monitor: some GuestMonitor, _ server: StandbyDisks, within seconds: Double
  ) throws(MonitorError) -> QMPValue {
    let taken = Set(try Self.nodes(monitor, within: seconds).compactMap(\.["node-name"].string))
    let number = (1...).first { !taken.contains(ProtectNames.leg(disk.name, $0)) } ?? 1
    let leg: QMPValue = .string(ProtectNames.leg(disk.name, number))
    var node: [String: QMPValue] = [
      "driver": "nbd", "node-name": leg, "export": .string(disk.name),
      "server": Self.address(server.endpoint),
    ]
    node.merge(server.tls?.options ?? [:]) { $1 }
    try monitor.execute("blockdev-add", .object(node), within: seconds)
    return leg
  }

  /// Takes it out. What is not there need not be.
  func remove(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    try Self.remove(monitor, within: seconds) { name in
      [job.string, target.string].contains(name) || ProtectNames.isLeg(name, of: disk.name)
    }
  }

  /// Takes all mirrors of a protect's out, whoever has put them in.
  static func removeAll(_ monitor: some GuestMonitor, within seconds: Double) throws(MonitorError) {
    try remove(monitor, within: seconds) { $0.hasPrefix(ProtectNames.prefix) }
  }

  private static func remove(
    _ monitor: some GuestMonitor, within seconds: Double, _ isMeant: (String) -> Bool
  ) throws(MonitorError) {
    if try !jobs(monitor, within: seconds, isMeant).isEmpty {
      // A mirror that ends frees its list of what is in flight while a write of the guest's that is
      // under way has yet to strike itself off it, in memory that is another's by then: a QEMU
      // (11.1) whose guest wrote meanwhile died the 36th time. A stop waits for all of them.
      try StandingGuest.stand(monitor, within: seconds) { () throws(MonitorError) in
        try endJobs(monitor, within: seconds, isMeant)
      }
    }
    // Those above others first.
    let ours = try nodes(monitor, within: seconds).filter { isMeant($0["node-name"].string ?? "") }
    for node in ours.filter({ $0["drv"] == "quorum" }) + ours.filter({ $0["drv"] == "nbd" }) {
      do {
        try monitor.execute("blockdev-del", ["node-name": node["node-name"]], within: seconds)
      } catch  where error.kind == .refused {}
    }
  }

  private static func endJobs(
    _ monitor: some GuestMonitor, within seconds: Double, _ isMeant: (String) -> Bool
  ) throws(MonitorError) {
    let deadline = ContinuousClock.now + .seconds(seconds)
    for job in try jobs(monitor, within: seconds, isMeant) {
      do {
        try monitor.execute(
          "block-job-cancel", ["device": .string(job), "force": true], within: seconds)
      } catch  where error.kind == .refused {
        // It is ending.
      }
    }
    while let job = try jobs(monitor, within: seconds, isMeant).first {
      guard ContinuousClock.now < deadline else {
        throw MonitorError(.silent, "the job \(job) does not end")
      }
      Pause.short()
    }
  }

  private static func jobs(
    _ monitor: some GuestMonitor, within seconds: Double, _ isMeant: (String) -> Bool
  ) throws(MonitorError) -> [String] {
    try monitor.execute("query-block-jobs", within: seconds).elements
      .compactMap(\.["device"].string).filter(isMeant)
  }

  private static func nodes(
    _ monitor: some GuestMonitor, within seconds: Double
  ) throws(MonitorError) -> [QMPValue] {
    try monitor.execute("query-named-block-nodes", ["flat": true], within: seconds).elements
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
