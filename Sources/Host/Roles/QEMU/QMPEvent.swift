/// What a QEMU tells on its monitor without being asked.
struct QMPEvent: Sendable {
  /// `STOP`, `RESUME`, `MIGRATION` …
  let name: String
  /// When it happened, on QEMU's clock (since 1970).
  let timestamp: Duration
  /// The strings among its data: `status` of MIGRATION.
  let data: [String: String]

  /// - Parameter object: as QMP sent it; nil when it is no event.
  init?(_ object: [String: Any]) {
    guard let name = object["event"] as? String else { return nil }
    self.name = name
    let time = object["timestamp"] as? [String: Any] ?? [:]
    timestamp =
      .seconds(time["seconds"] as? Int ?? 0) + .microseconds(time["microseconds"] as? Int ?? 0)
    data = (object["data"] as? [String: Any] ?? [:]).compactMapValues { $0 as? String }
  }
}
