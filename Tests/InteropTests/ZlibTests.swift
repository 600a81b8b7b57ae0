import TestSupport
import Testing

extension InteropTests {
  /// QEMU's zlib has two backends here, and a stock QEMU notices nothing of it.
  @Suite("A guest passes through igzip, or zlib")
  struct ZlibTests {
    /// What is asked for, and who does it.
    static let ways = [
      ("zlib", Lab.igzipUnavailable == nil ? "igzip" : "zlib"), ("igzip,level=0", "igzip"),
      ("zlib,level=1", "zlib"),
    ]
    /// Each from the one version to the other; `PassageTests` has zlib both ways.
    static let pairs: [(QEMUVersion, QEMUVersion)] = [(.v72, .v111), (.v111, .v72), (.v72, .v111)]

    @Test("multifd-compression zlib at both ends", arguments: zip(ways, pairs))
    func passes(_ way: (asked: String, name: String), _ pair: (QEMUVersion, QEMUVersion)) throws {
      try require(pair.0, pair.1)
      if way.name == "igzip", let reason = Lab.igzipUnavailable {
        reason.announce("interop, \(way.asked)")
        try Test.cancel("SKIPPED: \(reason)")
      }
      var cell = Passage.Cell(pair.0, pair.1, channels: 2, compression: "zlib")
      cell.asked = way.asked
      let passage = try Passage(cell, guests.guest(cell.source, cell.machine))
      defer { passage.end() }
      let taken = try passage.takeIn(["--compression", way.asked])
      #expect(taken.receive.json["compression"]["backend"].string == way.name)
      let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
      #expect(count == 0, "pages of the store that differ from the source's: \(pages)")
      passage.endSource()

      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      let out = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      #expect(out.send.json["compression"].string == way.name)
      #expect(try passage.check(destination).bad == 0)
    }
  }
}
