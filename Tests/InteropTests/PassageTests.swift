import TestSupport
import Testing

extension InteropTests {
  /// A guest goes in and out.
  @Suite("A guest passes through the store")
  struct PassageTests {
    /// Every format from one version to the other; within one, `make interop` has the rest.
    static let cells: [Passage.Cell] = versions.flatMap { source in
      versions.flatMap { destination in
        source == destination
          ? [Passage.Cell(source, destination, channels: 2, compression: "zstd")]
          : [Passage.Cell(source, destination, channels: 0, compression: "none")]
            + ["none", "zlib", "zstd"].map {
              Passage.Cell(source, destination, channels: 2, compression: $0)
            }
      }
    }

    /// One whose guest runs and writes meanwhile.
    static let live: Passage.Cell = {
      var cell = Passage.Cell(.v111, .v111, channels: 2, compression: "zstd")
      cell.isLive = true
      return cell
    }()

    @Test(
      "in, held byte for byte, out, and the guest finds all its memory right",
      arguments: [live] + cells)
    func passes(_ cell: Passage.Cell) throws {
      try require(cell.source, cell.destination)
      let passage = try Passage(cell, guests.guest(cell.source, cell.machine))
      defer { passage.end() }
      let taken = try passage.takeIn()
      #expect(taken.receive.json["result"].string == "held")
      let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
      #expect(count == 0, "pages of the store that differ from the source's: \(pages)")
      passage.endSource()

      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      let check = try passage.check(destination)
      #expect(check.bad == 0)
    }
  }
}
