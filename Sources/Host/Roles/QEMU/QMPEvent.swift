/// What a QEMU tells on its monitor without being asked.
package struct QMPEvent: Sendable {
  /// `STOP`, `RESUME`, `MIGRATION` …
  package let name: String
  /// When it happened, on QEMU's clock (since 1970).
  package let timestamp: Duration
  /// The strings among its data: `status` of MIGRATION.
  package let data: [String: String]

  /// - Parameter line: as QMP sent it; nil when it is no event.
  package init?(_ line: QMPValue) {
    guard let name = line["event"].string else { return nil }
    self.name = name
    let time = line["timestamp"]
    timestamp = .seconds(time["seconds"].int ?? 0) + .microseconds(time["microseconds"].int ?? 0)
    guard case .object(let members) = line["data"] else {
      data = [:]
      return
    }
    data = members.compactMapValues(\.string)
  }
}
