extension GuestMonitor {
  /// Makes sure that QEMU takes an object, and leaves none.
  ///
  /// - Parameter object: what `object-add` is given, but for the id.
  func tryObject(_ object: [String: QMPValue], within seconds: Double) throws(MonitorError) {
    let id = ProtectNames.look
    // One that died here has left its own.
    try removeObject(id, within: seconds)
    let all = object.merging(["id": .string(id)]) { $1 }
    try execute("object-add", .object(all), within: seconds)
    try removeObject(id, within: seconds)
  }
}
