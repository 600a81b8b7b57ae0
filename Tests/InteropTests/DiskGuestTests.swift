import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// What judges a protected guest, tried on one that is not: does it see what it should?
  @Suite("The guest with disks and a network")
  struct DiskGuestTests {
    private static let guest = DiskGuest(disks: 3)

    @Test("its table, its disks and its packets are found to fit, and what does not fit is found")
    func judges() throws {
      try requireDiskGuest()
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let witness = try PacketWitness(path: folder("wire"))
      defer { witness.end() }
      let images = try Self.guest.makeImages(in: folder("disks"))
      let qemu = try QEMU(.v111, Self.guest.machine(images, wire: witness.path))
      defer { qemu.terminate() }
      try qemu.waitBooted()
      witness.ask()
      let all = witness.wait(.seconds(60)) { seen in
        PacketWitness.Kind.allCases.allSatisfy { kind in
          seen.packets.count { $0.kind == kind } > 20
        } && seen.trips.count > 20 ? true : nil
      }
      #expect(all == true, "\(witness.seen.frames) frames came")

      let before = try look(qemu, images, folder)
      for (disk, found) in before.disks.enumerated() {
        #expect(found.bad == 0 && found.sectors * 512 == Self.guest.size(disk), "\(found)")
      }
      #expect(before.table.completed > 0)
      let old = try images.map { image in
        try FileManager.default.copyItem(atPath: image, toPath: image + ".old")
        return image + ".old"
      }
      var after = before
      // On a busy machine it takes the guest longer to write to all of them.
      for _ in 0..<40 {
        try qemu.qmp.execute("cont")
        Thread.sleep(forTimeInterval: 0.3)
        after = try look(qemu, images, folder)
        let isBehind = try images.indices.allSatisfy {
          try OfflineDisk(after.table, disk: $0, image: old[$0]).older > 0
        }
        if isBehind { break }
      }
      for disk in images.indices {
        #expect(after.disks[disk].bad == 0, "\(after.disks[disk])")
        let behind = try OfflineDisk(after.table, disk: disk, image: old[disk])
        #expect(behind.older > 0 && behind.newer == 0, "\(behind)")
        let ahead = try OfflineDisk(before.table, disk: disk, image: images[disk])
        #expect(ahead.newer > 0, "\(ahead)")
      }
      // The guest itself, and packets that it knows of.
      let seen = witness.seen
      for (kind, last) in after.table.sent {
        let numbers = seen.packets.filter { $0.kind == kind }.map(\.number)
        #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
        #expect((numbers.last ?? 0) <= last && (numbers.last ?? 0) > before.table.sent[kind] ?? 0)
      }
      #expect(seen.echoed <= after.table.echoed && seen.echoed > 0)
      try qemu.qmp.execute("cont")
      let right = try #require(qemu.console.diskCheck())
      #expect(right.bad == 0 && right.sectors == after.disks.reduce(0) { $0 + $1.sectors })
      try measures(qemu, witness)
      try damage(images[2], with: old[2], after.table.disks[2], qemu.console)
    }

    /// What it measures of itself, and what of its stream comes out: all of it, in order.
    private func measures(_ qemu: QEMU, _ witness: PacketWitness) throws {
      let start = qemu.console.log.lines.count
      func wait(_ word: String) -> String? {
        qemu.console.log.wait(from: start, .seconds(60)) {
          $0.text.hasPrefix(word) ? $0.text : nil
        }
      }
      qemu.console.send("hold")
      qemu.console.send("time 10")
      #expect(wait("TIMED ") == "TIMED writes=10")
      witness.expectStream()
      qemu.console.send("stream 1")
      let sent = try #require(wait("STREAMED "))
      let came = try #require(witness.wait(.seconds(30)) { $0.stream })
      #expect(sent == "STREAMED bytes=\(came.bytes)" && came.bytes > 1 << 16)
      #expect(qemu.console.diskCheck()?.bad == 0)
      qemu.console.send("go")
    }

    private func look(
      _ qemu: QEMU, _ images: [String], _ folder: TemporaryFolder
    ) throws -> (table: GuestTable, disks: [OfflineDisk]) {
      try qemu.qmp.execute("stop")
      try qemu.qmp.execute(
        "pmemsave",
        [
          "val": 0, "size": .integer(Int64(qemu.machine.memory << 20)),
          "filename": .string(folder("ram")),
        ])
      let table = try GuestTable(ram: folder("ram"))
      return (
        table,
        try images.indices.map { try OfflineDisk(table, disk: $0, image: images[$0]) }
      )
    }

    /// Puts a sector back to what it was: the guest finds exactly that one.
    private func damage(
      _ image: String, with old: String, _ entries: [GuestTable.Entry], _ console: GuestConsole
    ) throws {
      console.send("hold")
      #expect(console.diskCheck()?.bad == 0)
      let (now, then) = try (contents(image), contents(old))
      let sector = try #require(
        entries.indices.first { now[$0 * 512..<$0 * 512 + 512] != then[$0 * 512..<$0 * 512 + 512] })
      let file = try FileHandle(forUpdating: URL(fileURLWithPath: image))
      try file.seek(toOffset: UInt64(sector * 512))
      try file.write(contentsOf: then[sector * 512..<sector * 512 + 512])
      try file.close()
      let wrong = try #require(console.diskCheck())
      #expect(wrong.bad == 1, "\(wrong.text)")
      #expect(!console.trouble.isEmpty)
    }

    private func contents(_ path: String) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: path))
    }
  }

  /// Cancels the running test case, loudly, where the guest with disks or its QEMU is not there.
  static func requireDiskGuest() throws {
    try require(.v111)
    guard let reason = Lab.diskGuestUnavailable else { return }
    reason.announce("interop, the guest with disks")
    try Test.cancel("SKIPPED: \(reason)")
  }
}
