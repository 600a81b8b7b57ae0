import Foundation

// The two ends of a guest's way: what they have in common, whatever is in between.

extension SavedGuest {
  /// Starts it in `version`, where it beats, ready to be moved.
  ///
  /// - Parameter isLive: as `GuestHost.prepareToMove` has it.
  public func startBeating(in version: QEMUVersion, isLive: Bool) throws -> QEMU {
    let qemu = try start(in: version)
    guard qemu.console.waitHeartbeat(.seconds(60)) != nil else {
      qemu.terminate()
      throw LabError("the guest does not beat in QEMU \(version)")
    }
    try qemu.prepareToMove(isLive: isLive)
    return qemu
  }
}

extension GuestHost {
  /// Before it is migrated.
  ///
  /// - Parameter isLive: it runs and writes a little; else it is stopped. A source under TCG forgets
  ///   pages that its guest writes meanwhile, a 7.2 often, an 11.1 where COLO begins (SPECIFICATION.md,
  ///   its table of bugs): so tests of other things move a guest that stands still.
  public func prepareToMove(isLive: Bool) throws {
    guard isLive else { return _ = try qmp.execute("stop") }
    setLoad(rate: 2)
  }

  /// Waits for the end of a migration whose other side has ended. Throws unless it worked.
  public func waitCompleted(_ order: MigrationOrder) throws -> MigrationOutcome {
    let outcome = try waitMigration(order, .seconds(30))
    guard outcome.status == "completed" else {
      throw LabError("the source says \(outcome.status): \(outcome.statistics.text) \(complaints)")
    }
    return outcome
  }
}

extension QEMU {
  /// Makes a QEMU started with `-incoming defer` listen on a socket in `folder`, or on loopback.
  ///
  /// - Returns: the URI.
  public func listen(_ folder: TemporaryFolder?) throws -> String {
    guard let folder else { return "tcp:127.0.0.1:\(try listen())" }
    let uri = "unix:" + folder("incoming")
    try qmp.execute("migrate-incoming", ["uri": .string(uri)])
    return uri
  }

  /// A guest that has arrived here goes on from heartbeat `last`, and all its memory is right.
  public func takeUp(after last: Int?, isLive: Bool) throws -> GuestConsole.FullCheck {
    guard let last else { throw LabError("the source's guest never beat") }
    try waitLoaded()
    if !isLive { try qmp.execute("cont") }
    try waitRunning()
    guard let beat = console.waitHeartbeat(.seconds(60)), (last...last + 2).contains(beat.number)
    else {
      throw LabError(
        "the guest does not go on from heartbeat \(last): "
          + "\(console.heartbeats.first.map { "\($0.number)" } ?? "none") \(complaints)")
    }
    return try checkMemory()
  }
}
