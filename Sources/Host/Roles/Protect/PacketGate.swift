import Migration

/// What holds a guest's packets until the checkpoint that knows of them: at the primary's side, one
/// for all netdevs. From any thread.
protocol PacketGate: Sendable {
  /// Puts itself between the guest and its networks.
  ///
  /// - Parameter holding: packets wait at once; else they pass until ``hold()``.
  func putIn(_ monitor: any GuestMonitor, holding: Bool, within seconds: Double) throws(Failure)
  /// From now on packets wait.
  func hold()
  /// What has come by now belongs to checkpoint `number`.
  func mark(_ number: Int)
  /// What was marked up to `number` leaves.
  func release(_ number: Int)
  /// What waits leaves, and from now on all does at once.
  func letThrough()
  /// Takes itself out. What is not there need not be.
  func takeOut(_ monitor: any GuestMonitor, within seconds: Double) throws(MonitorError)
  /// How it stands.
  var lines: [ProtectLine.Net] { get }
}

/// No packets are held.
struct NoPackets: PacketGate {
  func putIn(_ monitor: any GuestMonitor, holding: Bool, within seconds: Double) throws(Failure) {}
  func hold() {}
  func mark(_ number: Int) {}
  func release(_ number: Int) {}
  func letThrough() {}
  func takeOut(_ monitor: any GuestMonitor, within seconds: Double) throws(MonitorError) {}
  var lines: [ProtectLine.Net] { [] }
}
