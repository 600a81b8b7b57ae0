import TestSupport
import Testing

extension InteropTests {
  /// A hand-over that fails costs nothing: the store keeps the guest.
  @Suite("A failing send leaves the guest in the store")
  struct FailingSendTests {
    @Test(
      "nobody there, one that is cut off, one with fewer channels, then one that works",
      arguments: versions)
    func sendAgain(_ version: QEMUVersion) throws {
      try require(version)
      let cell = Passage.Cell(version, version, channels: 2, compression: "zstd")
      let passage = try Passage(cell, guests.guest(version, cell.machine))
      defer { passage.end() }
      let taken = try passage.takeIn()
      passage.endSource()

      let nobody = try MultiFDProcess.run(
        passage.sendArguments(Sockets.freePort(), timeout: 2))
      #expect(nobody.code == 3, "\(nobody)")
      #expect(nobody.errorLine != nil, "\(nobody)")

      let (broken, brokenPort) = try passage.startDestination()
      let cuts = [1, 2].map { Proxy.Cut(connection: $0, after: 100_001, .reset) }
      let proxy = try Proxy(to: brokenPort, cuts: cuts)
      defer { proxy.close() }
      let failed = try MultiFDProcess.run(passage.sendArguments(proxy.port))
      #expect([1, 3].contains(failed.code), "\(failed)")
      #expect(failed.errorLine != nil, "\(failed)")
      broken.terminate()

      // One with fewer channels would load the guest, without the pages of the others.
      let (fewer, fewerPort) = try passage.startDestination()
      let short = try MultiFDProcess.run(
        passage.sendArguments(fewerPort, timeout: 5) + ["--channels", "4"])
      #expect([1, 2, 3].contains(short.code) && short.errorLine != nil, "\(short)")
      #expect(short.errors.contains("multifd-channels"), "\(short)")
      fewer.terminate()

      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      #expect(try passage.check(destination).bad == 0)
    }

    @Test("what was handed over is not handed over twice by mistake", arguments: versions)
    func handedOverOnce(_ version: QEMUVersion) throws {
      try require(version)
      let cell = Passage.Cell(version, version, channels: 2, compression: "none")
      let passage = try Passage(cell, guests.guest(version, cell.machine))
      defer { passage.end() }
      let taken = try passage.takeIn()
      passage.endSource()
      let (first, port) = try passage.startDestination()
      defer { first.terminate() }
      _ = try passage.handOut(to: first, port, after: taken.lastHeartbeat)

      let (second, secondPort) = try passage.startDestination()
      defer { second.terminate() }
      let again = try MultiFDProcess.run(passage.sendArguments(secondPort))
      #expect(again.code != 0, "\(again)")
      #expect(again.errorLine != nil, "\(again)")
      #expect(try second.status() == "inmigrate")
    }
  }
}
