import TestSupport
import Testing

extension InteropTests {
  /// A guest whose memory is in huge pages, from the first byte to the QEMU that maps them.
  @Suite("Stores on huge pages")
  struct HugePageTests {
    private static func home(_ kind: HugePageStore.Kind) throws -> HugePageStore {
      try require(.v111)
      if let reason = HugePageStore.unavailable(kind) { try Test.cancel("SKIPPED: \(reason)") }
      return try HugePageStore(kind, bytes: 256 << 20)
    }

    @Test(
      "A guest comes in, is held in pages of 2 MiB, and goes on",
      arguments: HugePageStore.Kind.allCases, ["none", "zstd"])
    func passes(_ kind: HugePageStore.Kind, _ compression: String) throws {
      let home = try Self.home(kind)
      defer { home.end() }
      let cell = Passage.Cell(.v111, .v111, channels: 2, compression: compression)
      let passage = try Passage(cell, guests.guest(.v111, cell.machine), store: home.path)
      defer { passage.end() }
      let taken = try passage.takeIn()
      let memory = taken.receive.json["memory"]
      #expect(memory["page-size"].int == 2 << 20, "\(memory.text)")
      #expect(memory["file-system"].string == kind.rawValue)
      let status = try MultiFDProcess.run(["status", "--store", home.path, "--json"])
      let found = status.json["memory"]
      #expect(found["page-size"].int == 2 << 20, "\(status)")
      // A tmpfs has them as far as the kernel finds some, the pool always.
      #expect(found["places"].int ?? 0 > 4)
      #expect(kind == .tmpfs || found["huge"].int == found["places"].int)
      let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
      #expect(count == 0, "pages of the store that differ from the source's: \(pages)")
      passage.endSource()

      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      #expect(try passage.check(destination).bad == 0)
    }

    @Test(
      "kill -9 of a primary: QEMU goes on in the huge pages", arguments: HugePageStore.Kind.allCases
    )
    func failsOver(_ kind: HugePageStore.Kind) throws {
      let home = try Self.home(kind)
      defer { home.end() }
      let machine = QEMUVersion.v111.machine(with: .v111)
      let primary = try guests.guest(.v111, machine).start(in: .v111)
      defer { primary.terminate() }
      let setup = MigrationSetup.colo(.v111, channels: 2, delay: 100)
      let protection = try Protection(primary, setup, store: home.path)
      defer { protection.end() }
      primary.console.setMix("text")
      primary.console.setRate(2)
      #expect(protection.session.waitCheckpoints(5, .seconds(60)) >= 5)
      let survivor = try protection.failOver()
      defer { survivor.qemu.killNow() }
      #expect(survivor.failover["mapped"].text.contains("pc.ram"), "\(survivor.failover.text)")
      let beats = protection.expectedBeats(after: survivor.checkpoint)
      let first = try #require(survivor.qemu.console.waitHeartbeat(.seconds(60))?.number)
      #expect(beats.contains(first))
      #expect(try survivor.qemu.checkMemory().bad == 0)
    }
  }
}
