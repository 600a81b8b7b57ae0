import Migration
import Transport

extension Protector {
  /// Until the standby has all that the guest has written, and knows that it has.
  func copyDisks(_ control: StandbyControl, _ tls: StandbyTLS?) throws(ProtectEnd) {
    guard !assessment.disks.isEmpty else { return }
    var writes = StandingWrites(limit: .seconds(options.longestWrite))
    state.show { $0.enter(.copying) }
    let server = StandbyDisks(endpoint: try server(control.status), tls: tls)
    do throws(Failure) { try server.expectAnswer(within: silence) } catch {
      try state.check()
      throw .lost(error)
    }
    let mirrors = assessment.disks.map(DiskMirror.init)
    for mirror in mirrors { try begin(mirror, server, control.status) }
    // What was refused just now, by a standby that had another connection, is tried again at once.
    var resumed = ContinuousClock.now - .seconds(1)
    var stops = StoppedCopies()
    while true {
      try state.wait(seconds: 0.1)
      let jobs = try execute("query-block-jobs")
      let all = try mirrors.map { mirror throws(ProtectEnd) in
        guard let progress = mirror.progress(jobs) else {
          throw .lost(Failure(.failed, "disk \(mirror.disk.name)", "its mirror has ended"))
        }
        return progress
      }
      state.show { line in
        for (index, progress) in all.enumerated() {
          (line.disks[index].copied, line.disks[index].total) = (progress.copied, progress.total)
        }
      }
      if all.allSatisfy(\.isSynced) { break }
      // The guest's writes wait for a copy that stands still. For one that has failed they do not.
      for (mirror, progress) in zip(mirrors, all) where !progress.hasStopped {
        try expectWrites(of: mirror.disk, progress, &writes)
      }
      guard all.contains(where: \.hasStopped), resumed.duration(to: .now) > .seconds(1) else {
        continue
      }
      resumed = .now
      for (mirror, progress) in zip(mirrors, all) where progress.hasStopped {
        try expectNearer(mirror.disk, progress, &stops)
      }
      do throws(MonitorError) {
        for (mirror, progress) in zip(mirrors, all) where progress.hasStopped {
          try mirror.resume(monitor, server: server, within: silence)
        }
      } catch { throw ProtectEnd(error) }
    }
    let names = mirrors.map(\.disk.name)
    control.sendSynced(names)
    let isSynced: Void? = control.wait(seconds: 10) { status in
      let there = status.disks.filter { names.contains($0.name) }
      return there.allSatisfy { $0.state == .synced || $0.state == .protected } ? () : nil
    }
    try state.check()
    guard isSynced != nil else {
      throw .lost(Failure(.failed, "standby", "its disks are mirrored, and it says they are not"))
    }
  }

  /// Makes sure that a copy that has stopped is worth going on with.
  private func expectNearer(
    _ disk: Assessment.Disk, _ progress: DiskMirror.Progress, _ stops: inout StoppedCopies
  ) throws(ProtectEnd) {
    let remaining = progress.total - progress.copied
    guard stops.isTooMuch(disk.name, remaining: remaining) else { return }
    let why = state.failure(of: disk) ?? "does not come to its end"
    throw .lost(
      Failure(.failed, "disk \(disk.name)", "its mirror stops again and again: it \(why)"))
  }

  /// Copies a disk, or goes on with a copy: from the blocks that are behind where the standby has
  /// the others, from the beginning where it has not.
  private func begin(
    _ mirror: DiskMirror, _ server: StandbyDisks, _ status: ControlStatus
  ) throws(ProtectEnd) {
    let theirs = status.disks.first { $0.name == mirror.disk.name }
    let jobs = try execute("query-block-jobs")
    if let progress = mirror.progress(jobs) {
      let hasOthers = theirs?.state == .synced || theirs?.state == .protected
      // Of a first copy that goes on. (To a standby that is a new one QEMU may have connected again
      // by itself, for a write of the guest's: that is all it has then.)
      let covered = theirs?.covered ?? 0
      let isGoingOn =
        !progress.hasStopped && covered > 0 && (!progress.isReady || covered == theirs?.size)
      do {
        if hasOthers || isGoingOn, try mirror.leads(to: server.endpoint, monitor, within: silence) {
          if hasOthers {
            log("disk \(mirror.disk.name): copying what has changed")
            try mirror.resume(monitor, server: server, within: silence)
          }
          return
        }
        try mirror.remove(monitor, within: 10)
      } catch { throw ProtectEnd(error) }
    }
    log("disk \(mirror.disk.name): copying all of it")
    do { try mirror.start(monitor, server: server, within: silence) } catch {
      throw ProtectEnd(error)
    }
  }

  /// Where the standby has its disks, as seen from here.
  private func server(_ status: ControlStatus) throws(ProtectEnd) -> Endpoint {
    do {
      guard let uri = status.disksURI else {
        throw Failure(.refused, "standby", "it has no disks", hint: "start it with --disks")
      }
      return try Self.server(uri, of: options.standby)
    } catch { throw .lost(Failure(error, at: "standby")) }
  }

  /// The endpoint at which a standby's disks are reached.
  ///
  /// - Parameters:
  ///   - uri: as it listens: on all of its addresses, say.
  ///   - standby: how it was reached itself.
  package static func server(_ uri: String, of standby: Endpoint) throws(TransportError) -> Endpoint
  {
    let endpoint = try Endpoint(parsing: uri)
    guard case .tcp(let host, let port) = endpoint, ["", "0.0.0.0", "::"].contains(host) else {
      return endpoint
    }
    guard case .tcp(let reached, _) = standby else { return .tcp(host: "127.0.0.1", port: port) }
    return .tcp(host: reached, port: port)
  }
}
