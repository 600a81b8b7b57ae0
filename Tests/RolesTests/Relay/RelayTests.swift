import TestSupport
import Testing

@Suite("A guest passes through relays", .serialized, .beside)
struct RelayTests {
  /// One of each kind: formats, versions, sockets, channels; what passes untouched, and a hop.
  static let passages: [RelayPassage] = {
    var lz4 = RelayPassage(.v111, .v111, channels: 2, compression: "lz4")
    (lz4.isLocal, lz4.isLive) = (true, true)
    var zstd = RelayPassage(.v111, .v111, channels: 4, compression: "zstd")
    zstd.returnPath = false
    var untouched = RelayPassage(.v111, .v111, channels: 2, compression: nil)
    (untouched.sourceMethod, untouched.destinationMethod) = ("zstd", "zstd")
    untouched.relays = [nil]
    var hop = RelayPassage(.v111, .v111, channels: 2, compression: nil)
    hop.relays = ["lz4", nil, nil]
    return [
      lz4, zstd, untouched, hop, RelayPassage(.v72, .v72, channels: 2, compression: "zlib"),
      RelayPassage(.v111, .v111, channels: 1, compression: nil),
      RelayPassage(.v111, .v111, channels: 0, compression: nil),
    ]
  }()

  @Test("It finds all its memory right, and goes on", arguments: passages)
  func passes(_ passage: RelayPassage) throws {
    try require(passage.source, passage.destination)
    let guest = try SavedGuests.shared.guest(passage.source, passage.machine)
    #expect(try passage.run(guest).pages > 0)
  }

  @Test("It goes into a store over a link, to another one, and out again over links")
  func staysOver() throws {
    var layover = Layover(.v111, .v111)
    layover.stores = 2
    try require(layover.source, layover.destination)
    let guest = try SavedGuests.shared.guest(layover.source, layover.machine)
    #expect(try layover.run(guest) > 0)
  }

  private func require(_ versions: QEMUVersion...) throws {
    for version in versions {
      guard version.isAvailableElseAnnounce("the relay, QEMU \(version)") else {
        let reason = version.unavailable ?? Lab.guestUnavailable
        try Test.cancel("SKIPPED: \(reason?.description ?? "no QEMU \(version)")")
      }
    }
  }
}
