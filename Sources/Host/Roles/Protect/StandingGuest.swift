import Migration

/// A guest that a protect has stopped: while its memory is copied for the first time, and for the
/// moment in which a mirror is ended (``DiskMirror``).
///
/// A QEMU that emulates its guest (TCG; 11.1) goes from precopy to COLO with translations in which
/// writes go unnoticed: of a guest that ran meanwhile a page that it wrote just before precopy's end
/// and writes just after it is in no checkpoint until it is written once more. Of one that stood
/// still nothing is lost, nor of one that KVM runs. That this side has stopped it stands in QEMU
/// itself, so that whoever has to let it go on knows: the process that did may be dead.
enum StandingGuest {
  /// An object that does nothing, and that no migration takes along.
  private static let mark: QMPValue = .string(ProtectNames.standing)

  /// Whether a protect has stopped it, and not let it go on.
  static func isMarked(
    _ monitor: some GuestMonitor, within seconds: Double
  ) throws(MonitorError) -> Bool {
    try monitor.execute("qom-list", ["path": "/objects"], within: seconds)
      .elements.contains { $0["name"] == mark }
  }

  /// Stops it; it is not marked. One that its operator has stopped stays his.
  ///
  /// - Returns: whether it ran.
  static func stop(
    _ monitor: some GuestMonitor, within seconds: Double
  ) throws(MonitorError) -> Bool {
    guard try monitor.execute("query-status", within: seconds)["running"].bool == true else {
      return false
    }
    if try !isMarked(monitor, within: seconds) {
      try monitor.execute("object-add", ["qom-type": "rng-builtin", "id": mark], within: seconds)
    }
    try monitor.execute("stop", within: seconds)
    return true
  }

  /// Does something while it stands still and nothing of it is under way. Then it goes on, and if it
  /// was an earlier one of ours that has stopped it.
  static func stand(
    _ monitor: some GuestMonitor, within seconds: Double,
    while body: () throws(MonitorError) -> Void
  ) throws(MonitorError) {
    do {
      _ = try stop(monitor, within: seconds)
      try body()
    } catch {
      try? goOn(monitor, within: seconds)
      throw error
    }
    try goOn(monitor, within: seconds)
  }

  /// It runs again, by QEMU's doing.
  static func forget(
    _ monitor: some GuestMonitor, within seconds: Double
  ) throws(MonitorError) {
    try monitor.removeObject(ProtectNames.standing, within: seconds)
  }

  /// Lets it go on, where a protect has stopped it.
  static func goOn(
    _ monitor: some GuestMonitor, within seconds: Double
  ) throws(MonitorError) {
    guard try isMarked(monitor, within: seconds) else { return }
    if try monitor.execute("query-status", within: seconds)["status"].string == "paused" {
      try monitor.execute("cont", within: seconds)
    }
    try monitor.execute("object-del", ["id": mark], within: seconds)
  }
}
