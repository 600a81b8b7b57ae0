import Migration

extension Protector {
  /// Seconds that a QEMU may say nothing while it is freed; then there is no help.
  static let longest = 60.0

  /// Lets the guest go on alone: frees what hangs, ends COLO, lets packets through, takes filters
  /// and mirrors out.
  ///
  /// - Parameters:
  ///   - keepsMirrors: they wait for a standby, and remember which blocks it lacks.
  ///   - hangs: the disks' connections may be there and carry nothing.
  ///   - onGoing: called once QEMU answers, before the guest is let go on.
  func letGo(
    keepsMirrors: Bool, hangs: Bool, onGoing: () -> Void = {}
  ) throws(ProtectEnd) {
    state.watchNothing()
    yank(disks: hangs)
    let deadline = ContinuousClock.now + .seconds(Self.longest)
    var isTold = false
    /// Until QEMU answers: half of it done would leave a guest that nobody hears, or that stands.
    func insist(_ body: () throws(MonitorError) -> Void) throws(ProtectEnd) {
      while true {
        do { return try body() } catch {
          // What the yank has freed takes a moment to go on.
          guard error.kind == .silent, .now < deadline else { throw ProtectEnd(error) }
          if !isTold { log("QEMU does not answer: the guest may stand still") }
          isTold = true
          try state.checkFinal()
          yank(disks: true)
        }
      }
    }
    try insist { () throws(MonitorError) in
      try endMigration {
        onGoing()
        packets.letThrough()
      }
    }
    if !hangs {
      // Where it was the control connection alone that ended, a write may hang yet, or hang later.
      state.pause(seconds: 0.5)
      yank(disks: true)
    }
    try insist { () throws(MonitorError) in
      try packets.takeOut(monitor, within: options.silence)
    }
    guard !keepsMirrors else { return }
    try insist { () throws(MonitorError) in try DiskMirror.removeAll(monitor, within: 10) }
    try restoreSettings()
    // Nothing names them any more.
    try insist { () throws(MonitorError) in
      try StandbyTLS.takeOut(of: monitor, within: options.silence)
    }
  }

  /// Cuts QEMU's connections to the standby, past its main loop, which may wait for them.
  ///
  /// - Parameter disks: the disks' too. Not at the moment at which these break by themselves: a QEMU
  ///   (11.1) whose request finds its connection broken takes the lock of its NBD node, and then that
  ///   of all yanks, and a yank takes them the other way round. Both wait for ever then, with all of
  ///   QEMU: of 100 standbys that were killed one or two ended so.
  func yank(disks: Bool) {
    let seconds = min(1, options.silence)
    guard let all = try? askYank("query-yank", within: seconds) else { return }
    let ours = all.elements.filter { instance in
      switch instance["type"].string {
      case "migration": true
      case "block-node":
        disks && instance["node-name"].string?.hasPrefix(ProtectNames.prefix) == true
      default: false
      }
    }
    guard !ours.isEmpty else { return }
    _ = try? askYank("yank", ["instances": .array(ours)], within: seconds)
  }

  /// What a QEMU answers that stands still otherwise, where its monitor allows that.
  func askYank(
    _ command: String, _ arguments: QMPValue = .null, within seconds: Double
  ) throws(MonitorError) -> QMPValue {
    try emergency.execute(
      command, arguments, within: seconds, outOfBand: emergency.takesOutOfBand)
  }

  /// Until there is no migration and the guest runs.
  ///
  /// - Parameter onAnswer: called whenever QEMU has answered, before anything is done.
  private func endMigration(onAnswer: () -> Void) throws(MonitorError) {
    let seconds = min(1, options.silence)
    let deadline = ContinuousClock.now + .seconds(10)
    while true {
      let status = try monitor.execute("query-migrate", within: seconds)["status"].string ?? ""
      onAnswer()
      switch status {
      case "colo":
        do { try monitor.execute("x-colo-lost-heartbeat", within: seconds) } catch
          where error.kind == .refused
        {
          // It has just ended.
        }
      case "setup", "active", "device", "wait-unplug", "pre-switchover":
        do { try monitor.execute("migrate_cancel", within: seconds) } catch
          where error.kind == .refused
        {}
      case "cancelling", "failing": break
      default: return try goOn(within: seconds)
      }
      guard ContinuousClock.now < deadline else {
        throw MonitorError(.refused, "the migration does not end: it is \(status)")
      }
      Pause.short()
    }
  }

  /// A guest that the end of COLO has left standing, or that stood still before it began.
  private func goOn(within seconds: Double) throws(MonitorError) {
    try StandingGuest.goOn(monitor, within: seconds)
    let status = try monitor.execute("query-status", within: seconds)
    guard status["running"].bool == false,
      ["colo", "finish-migrate", "postmigrate"].contains(status["status"].string)
    else { return }
    try monitor.execute("cont", within: seconds)
  }

  /// An ordinary migration of this guest must not become COLO.
  func restoreSettings() throws(ProtectEnd) {
    // What they were before an earlier protection of which this one has only seen the middle
    // nobody knows: then QEMU's own defaults.
    let isKnown = before.capabilities["x-colo"] != true
    var capabilities = ["x-colo": false]
    for name in ["return-path", "multifd", "events"] {
      capabilities[name] = isKnown && before.capabilities[name] == true
    }
    try set(capabilities)
    var parameters: [String: QMPValue] = [:]
    if isKnown {
      for name in [
        "x-checkpoint-delay", "max-bandwidth", "downtime-limit", "multifd-channels",
        "multifd-compression", "tls-creds", "tls-hostname",
      ] where before.parameters[name] != .null { parameters[name] = before.parameters[name] }
    }
    if before.parameters["tls-creds"].string == ProtectNames.credentials {
      // An earlier process's, and they are about to go.
      (parameters["tls-creds"], parameters["tls-hostname"]) = ("", "")
    }
    guard !parameters.isEmpty else { return }
    try execute("migrate-set-parameters", .object(parameters))
  }
}

extension Failure {
  /// Whether what was lost may be there still and say nothing: then so may its other connections.
  /// What has ended or has said so has ended those, too.
  var mayHang: Bool { kind == .unreachable && !peerIsGone }
}
