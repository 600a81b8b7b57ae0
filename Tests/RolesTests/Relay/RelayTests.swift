import TestSupport
import Testing

@Suite("A guest passes through relays", .serialized)
struct RelayTests {
  /// One of each kind: formats, versions, sockets, channels.
  static let passages: [RelayPassage] = {
    var lz4 = RelayPassage(.v111, .v111, channels: 2, compression: "lz4")
    lz4.isLocal = true
    var zstd = RelayPassage(.v111, .v111, channels: 4, compression: "zstd")
    zstd.returnPath = false
    return [
      lz4, zstd, RelayPassage(.v72, .v72, channels: 2, compression: "zlib"),
      RelayPassage(.v111, .v111, channels: 1, compression: nil),
      RelayPassage(.v111, .v111, channels: 0, compression: nil),
    ]
  }()

  @Test("It finds all its memory right, and goes on", arguments: passages)
  func passes(_ passage: RelayPassage) throws {
    for version in [passage.source, passage.destination] {
      guard version.isAvailableElseAnnounce("the relay, QEMU \(version)") else {
        let reason = version.unavailable ?? Lab.guestUnavailable
        try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU \(version)")")
      }
    }
    let guest = try SavedGuests.shared.guest(passage.source, passage.machine)
    let report = try passage.run(guest)
    let expected = passage.returnPath ? "migrated" : "passed"
    for relay in report.relays { #expect(relay.json["result"].string == expected) }
    #expect(report.relays[0].json["channels"].elements.count == passage.channels)
  }
}
