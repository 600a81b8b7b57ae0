import Foundation
import TestSupport
import Testing

extension ExamplesTests {
  /// igzip in the place of zlib, between stock QEMUs that do not notice.
  @Suite("A guest passes through igzip")
  struct GuestTests {
    static let igzip = "QEMU 11.1 to igzip to QEMU 7.2"

    @Test(
      "zlib at the source and at the destination, igzip in between",
      .enabled(if: missing == nil, "SKIPPED: \(missing?.description ?? "")"))
    func passes() throws {
      let library = try Built.shared.library(.igzip)
      let folder = URL(filePath: library).deletingLastPathComponent().path
      let igzip = ["--compression", "igzip", "--plugin-dir", folder]
      let cell = Passage.Cell(.v111, .v72, channels: 2, compression: "zlib")
      let passage = try Passage(cell, SavedGuests().guest(.v111, cell.machine))
      let taken = try passage.takeIn(igzip)
      #expect(taken.receive.json["compression"]["backend"].string == "igzip")
      let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
      #expect(count == 0, "pages of the store that differ from the source's: \(pages)")
      passage.endSource()

      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      let send = try MultiFDProcess.run(
        ["send", "--store", passage.store, "--to", "tcp:127.0.0.1:\(port)", "--channels", "2"]
          + ["--json"] + igzip)
      #expect(send.code == 0, "\(send); destination: \(destination.complaints)")
      try destination.waitLoaded()
      try destination.waitRunning()
      let first = try #require(destination.console.waitHeartbeat(.seconds(60)))
      #expect((taken.lastHeartbeat...taken.lastHeartbeat + 2).contains(first.number))
      let check = try passage.check(destination)
      #expect(check.bad == 0)
    }

    private static let missing: SkipReason? = {
      let reasons =
        [QEMUVersion.v111, .v72].map(\.unavailable)
        + [Lab.guestUnavailable, MultiFDProcess.unavailable, Example.igzip.unavailable]
      let reason = reasons.lazy.compactMap(\.self).first
      reason?.announce(igzip)
      return reason
    }()
  }
}
