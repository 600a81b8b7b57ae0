import Foundation
import Glibc
import Store
import TestSupport
import Testing

/// A disk at a standby: what has been written and told is written is there as of the checkpoint that
/// counts, whatever ends the process.
@Suite("Disks of a protected guest")
struct DiskTests {
  let folder: TemporaryFolder
  static let size = 1 << 20

  init() throws {
    folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    try Data(count: Self.size).write(to: URL(filePath: image))
  }

  var image: String { folder("disk.raw") }
  var logs: String { image + ".epochs" }

  func disk(
    _ start: EpochDisk.Start = .empty, backlog: Int = 1 << 30, log: (String) -> Void = { _ in }
  ) throws -> EpochDisk {
    try EpochDisk(
      name: "disk0", image: image, folder: nil, start: start, store: folder("store"),
      mostBacklog: backlog, log: log)
  }

  /// One that is trusted, connected and protected.
  func protected(backlog: Int = 1 << 30) throws -> (EpochDisk, Int, Manifest.Disk) {
    let disk = try disk(.trusted, backlog: backlog)
    let ticket = try #require(disk.attach())
    return (disk, ticket, try disk.protect())
  }

  func write(_ disk: EpochDisk, _ byte: UInt8?, _ range: Range<Int>) throws {
    guard let byte else { return try disk.write(nil, at: range) }
    try [UInt8](repeating: byte, count: range.count).withUnsafeBytes {
      try disk.write($0, at: range)
    }
  }

  func contents(_ disk: EpochDisk) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: Self.size)
    try bytes.withUnsafeMutableBytes { try disk.read(into: $0, at: 0) }
    return bytes
  }

  /// The image's own bytes.
  func onDisk() throws -> [UInt8] {
    [UInt8](try #require(FileManager.default.contents(atPath: image)))
  }

  func checkpoint(_ disk: EpochDisk) throws -> Int {
    disk.ask()
    disk.flush()
    let epoch = try disk.seal()
    try disk.expectQuiet()
    disk.committed()
    return epoch
  }

  func reason(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch { return (error as? EpochDisk.Loss)?.reason ?? "\(error)" }
  }

  // MARK: The first copy

  @Test("The first copy is counted by whole blocks, and goes straight to the image")
  func coverage() throws {
    let disk = try disk()
    #expect(
      reason { try disk.expectSynced() } == "0 % copied: wait until its mirror is actively synced")
    let ticket = try #require(disk.attach())
    #expect(disk.use(ticket) && disk.attach() == nil)
    try write(disk, 1, 100..<5000)
    #expect(disk.status.covered == 0)
    try write(disk, 2, 0..<4096)
    try write(disk, 3, 2048..<12288)
    #expect(disk.status.covered == 3 * 4096)
    // The same again counts once.
    try write(disk, 3, 4096..<8192)
    #expect(disk.status.covered == 3 * 4096)
    try write(disk, 4, 12288..<Self.size - 1)
    #expect(disk.status.phase == .syncing)
    #expect(
      reason { try disk.expectSynced() } == "99 % copied: wait until its mirror is actively synced")
    try write(disk, nil, Self.size - 4096..<Self.size)
    #expect(disk.status.phase == .synced)
    try disk.expectSynced()
    #expect(try onDisk()[Self.size - 4097..<Self.size - 4095] == [4, 0])
    disk.detach(ticket, "gone")
    #expect(disk.status.phase == .synced)
    #expect(reason { try disk.expectSynced() } == "no mirror is connected")
  }

  @Test(
    "A write of the copy that fails, or is refused, has to come again before a protection begins",
    .enabled(if: SmallFileSystem.isAvailable))
  func lacking() throws {
    // By its name: an image is used by its real path.
    let small = try TemporaryFolder()
    try #require(mount("none", small.path, "tmpfs", 0, "mode=0700,size=1m") == 0)
    defer { umount2(small.path, Int32(MNT_DETACH)) }
    let (image, other) = (small("disk.raw"), small("other"))
    for path in [image, other] { try Data().write(to: URL(filePath: path)) }
    truncate(image, off_t(Self.size))
    let disk = try EpochDisk(
      name: "disk0", image: image, folder: folder("logs"), start: .trusted, store: folder("store"),
      mostBacklog: 1 << 30, log: { _ in })
    _ = try #require(disk.attach())
    try disk.expectSynced()
    try Data(count: 1 << 19).write(to: URL(filePath: other))
    #expect(throws: EpochDisk.RequestError.self) { try write(disk, 1, 4000..<Self.size) }
    #expect(disk.status.phase == .syncing && disk.status.covered == 0)
    #expect(reason { _ = try disk.protect() } != nil)
    unlink(other)
    try write(disk, 2, 0..<Self.size)
    try disk.expectSynced()
    // Nothing of it is written, and a read, which is not done either, leaves nothing out.
    disk.refuse("it cannot be", lacking: 4096..<4097)
    #expect(disk.status.phase == .syncing && disk.status.covered == Self.size - 4096)
    try write(disk, 2, 4096..<8192)
    disk.refuse("it cannot be")
    disk.refuse("it cannot be", lacking: Self.size..<Self.size)
    try disk.expectSynced()
    _ = try disk.protect()
  }

  @Test("Who has asked for nothing gives way, and may ask for nothing then")
  func givesWay() throws {
    let disk = try disk()
    let ended = Monitor(0)
    let idle = try #require(disk.attach { ended.update { $0 += 1 } })
    let ticket = try #require(disk.attach())
    #expect(ended.read { $0 } == 1 && !disk.use(idle) && !disk.detach(idle, "gone"))
    #expect(disk.status.isConnected && disk.use(ticket) && disk.attach() == nil)
    #expect(disk.detach(ticket, "gone") && !disk.status.isConnected)
    // Whoever comes next has to ask for itself.
    _ = try #require(disk.attach())
    try write(disk, 1, 0..<Self.size)
    _ = try #require(disk.attach())
    _ = try disk.protect()
    #expect(disk.attach() == nil, "a protection has the connection with which it began")
  }

  @Test("An image whose end is no whole block is copied to its end")
  func oddSize() throws {
    truncate(image, off_t(Self.size + 512))
    let disk = try disk()
    _ = disk.attach()
    try write(disk, 1, 0..<Self.size)
    #expect(disk.status.phase == .syncing)
    try write(disk, 1, Self.size..<Self.size + 512)
    #expect(disk.status.phase == .synced)
    #expect(disk.status.covered == Self.size + 512)
  }

  // MARK: Checkpoints

  @Test("Writes are read at once, and are in the image when their checkpoint is committed")
  func epochs() throws {
    let (disk, _, manifest) = try protected()
    #expect(manifest.epoch == 0)
    try write(disk, 1, 0..<8192)
    try write(disk, 2, 4000..<5000)
    try write(disk, nil, 100..<200)
    var expected = [UInt8](repeating: 0, count: Self.size)
    expected.replaceSubrange(0..<8192, with: repeatElement(1, count: 8192))
    expected.replaceSubrange(4000..<5000, with: repeatElement(2, count: 1000))
    expected.replaceSubrange(100..<200, with: repeatElement(0, count: 100))
    #expect(try contents(disk) == expected)
    #expect(try onDisk().allSatisfy { $0 == 0 })
    #expect(try checkpoint(disk) == 1)
    try write(disk, 9, 0..<1)
    disk.close()
    #expect(try onDisk() == expected)
    #expect(throws: EpochDisk.RequestError.self) { try write(disk, 1, 0..<1) }
  }

  /// What each checkpoint has, next to a model; ended at any place and opened again.
  @Test("Whatever was written and sealed, the image is the checkpoint's", arguments: 0..<12)
  func model(seed: Int) throws {
    var random = Seeded(UInt64(seed))
    var model = [UInt8](repeating: 0, count: Self.size)
    var committed = (epoch: 0, bytes: model)
    do {
      let (disk, ticket, _) = try protected()
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        for _ in 0..<Int.random(in: 0...20, using: &random) {
          let start = Int.random(in: 0..<Self.size, using: &random)
          let end = min(Self.size, start + Int.random(in: 1...70_000, using: &random))
          let byte = Bool.random(using: &random) ? UInt8.random(in: 1...255, using: &random) : nil
          try write(disk, byte, start..<end)
          model.replaceSubrange(start..<end, with: repeatElement(byte ?? 0, count: end - start))
        }
        #expect(try contents(disk) == model)
        disk.ask()
        disk.flush()
        let epoch = try disk.seal()
        // Sealed, and never committed.
        guard Int.random(in: 0..<4, using: &random) > 0 else { break }
        disk.committed()
        committed = (epoch, model)
      }
      if Bool.random(using: &random) { disk.detach(ticket, "cut") }
      disk.close()
    }
    for _ in 0..<2 {
      try DiskFolder(logs, create: false).redo(through: committed.epoch, to: DiskImage(image))
      #expect(try onDisk() == committed.bytes)
    }
    let left = try FileManager.default.contentsOfDirectory(atPath: logs)
    #expect(Set(left).isSubset(of: ["state", "covered"]))
  }

  @Test("A checkpoint without a FLUSH since it was asked for is refused")
  func flushless() throws {
    let (disk, _, _) = try protected()
    disk.flush()
    disk.ask()
    #expect(
      reason { _ = try disk.seal() } == "no FLUSH has come on its connection before the checkpoint")
    #expect(disk.status.phase == .lost)
    disk.flush()
    #expect(reason { _ = try disk.seal() } != nil)
  }

  @Test("A connection that ends loses the disk, and nobody gets it again")
  func reconnected() throws {
    let (disk, ticket, _) = try protected()
    #expect(disk.attach() == nil)
    disk.detach(ticket, "its connection has ended")
    #expect(disk.attach() == nil)
    disk.ask()
    disk.flush()
    #expect(reason { _ = try disk.seal() } == "its connection has ended")
  }

  @Test("A write while the guest stands still loses the disk before the commit")
  func standing() throws {
    let (disk, _, _) = try protected()
    disk.ask()
    disk.flush()
    _ = try disk.seal()
    try write(disk, 1, 0..<1)
    #expect(reason { try disk.expectQuiet() } == "a write has come while the guest stood still")
  }

  @Test(
    "A full file system loses the disk; the checkpoint before stays",
    .enabled(if: SmallFileSystem.isAvailable))
  func failing() throws {
    let small = try SmallFileSystem("size=4m")
    defer { withExtendedLifetime(small) {} }
    let disk = try EpochDisk(
      name: "disk0", image: image, folder: small.path + "/logs", start: .trusted,
      store: folder("store"), mostBacklog: 1 << 30, log: { _ in })
    _ = disk.attach()
    _ = try disk.protect()
    try write(disk, 1, 0..<4096)
    let epoch = try checkpoint(disk)
    #expect(throws: EpochDisk.RequestError.self) {
      for _ in 0..<10 { try write(disk, 2, 0..<Self.size) }
    }
    disk.ask()
    disk.flush()
    #expect(reason { _ = try disk.seal() }?.hasPrefix("a write has failed") == true)
    disk.close()
    #expect(epoch == 1)
    #expect(try onDisk().prefix(4097) == [UInt8](repeating: 1, count: 4096) + [0])
  }

  @Test("Writes wait while the image is too far behind, and go on when it is not")
  func backlog() throws {
    let (disk, _, _) = try protected(backlog: 1)
    for round in 1...20 {
      try write(disk, UInt8(round), 0..<Self.size)
      #expect(try checkpoint(disk) == round)
    }
    disk.close()
    #expect(try onDisk().allSatisfy { $0 == 20 })
  }

  // MARK: What a process leaves

  @Test("A log that ends anywhere counts up to its last whole entry")
  func torn() throws {
    do {
      let (disk, _, _) = try protected()
      defer { disk.close() }
      for number in 0..<8 {
        try write(disk, UInt8(number + 1), number * 1000..<number * 1000 + 100)
      }
    }
    let index = try #require(FileManager.default.contents(atPath: logs + "/1.index"))
    let data = try #require(FileManager.default.contents(atPath: logs + "/1.data"))
    #expect(index.count == 8 * 32)
    /// Redoes a log, and says how many writes came of it: those, and only those, in order.
    func entries(_ index: Data, _ data: Data, imageSize: Int = Self.size) throws -> Int {
      for (end, bytes) in [("index", index), ("data", data)] {
        try bytes.write(to: URL(filePath: logs + "/1." + end))
        chmod(logs + "/1." + end, 0o600)
      }
      try Data(count: imageSize).write(to: URL(filePath: image))
      try DiskFolder(logs, create: false).redo(through: 1, to: DiskImage(image))
      #expect(!FileManager.default.fileExists(atPath: logs + "/1.index"))
      let bytes = try onDisk()
      let count = (0..<8).prefix { bytes[min($0 * 1000, imageSize - 1)] == UInt8($0 + 1) }.count
      let written = bytes.count { $0 != 0 }
      #expect(written == count * 100)
      return count
    }
    for cut in 0...index.count { #expect(try entries(index.prefix(cut), data) == cut / 32) }
    // An entry that was changed, or is beyond the image or its contents, ends it.
    for byte in 64..<96 {
      var damaged = index
      damaged[byte] ^= 0x10
      #expect(try entries(damaged, data) == 2, "byte \(byte)")
    }
    #expect(try entries(index, data, imageSize: 7050) == 7)
    #expect(try entries(index, data.prefix(3 * 4096 + 50)) == 3)
    #expect(try entries(index, data) == 8)
  }

  @Test("What a standby that died was told is written is kept, if its primary went on")
  func adopting() throws {
    do {
      let disk = try disk()
      let ticket = try #require(disk.attach())
      try write(disk, 5, 0..<Self.size)
      disk.detach(ticket, "gone")
      _ = try #require(disk.attach())
      _ = try disk.protect()
      try write(disk, 6, 0..<100)
      _ = try checkpoint(disk)
      try write(disk, 7, 50..<60)
      // Nothing more is dropped, as when a process is killed.
      disk.close()
    }
    let disk = try disk(.adopting)
    #expect(disk.status.phase == .synced)
    var expected = [UInt8](repeating: 5, count: Self.size)
    expected.replaceSubrange(0..<100, with: repeatElement(6, count: 100))
    expected.replaceSubrange(50..<60, with: repeatElement(7, count: 10))
    #expect(try onDisk() == expected)
  }

  @Test("Half a copy is gone on with")
  func adoptingHalf() throws {
    do {
      let disk = try disk()
      _ = disk.attach()
      try write(disk, 5, 0..<Self.size / 2)
    }
    let disk = try disk(.adopting)
    #expect(disk.status.covered == Self.size / 2)
    #expect(disk.status.phase == .syncing)
  }

  @Test("Nothing is adopted of another boot, nor of a guest that went on here")
  func foreign() throws {
    for change in ["boot", "continued"] {
      do {
        let disk = try disk(.trusted)
        #expect(disk.status.phase == .synced)
      }
      try alter { state in
        if change == "boot" { state.boot = "another" } else { state.continued = true }
      }
      var said: [String] = []
      let covered = try disk(.adopting) { said.append($0) }.status.covered
      #expect(covered == 0)
      #expect(said.count == 1 && said[0].contains("nothing to adopt"), "\(change)")
    }
  }

  /// Changes what is written down of the disk, while nobody has it.
  private func alter(_ body: (inout DiskState) -> Void) throws {
    let place = try DiskFolder(logs, create: false)
    var state = try #require(try place.state())
    body(&state)
    try place.write(state)
  }

  // MARK: A store with disks

  /// A standby's store with a disk, protected.
  func standby() throws -> (Store, EpochDisk) {
    let store = try Store.prepare(folder("store"))
    let (disk, _, said) = try protected()
    var manifest = TestGuest.manifest
    manifest.disks = [said]
    manifest.boot = Manifest.thisBoot
    try store.hold(
      manifest, as: .standby, blocks: TestGuest.makeBlocks(store), earlyState: TestGuest.early,
      deviceState: TestGuest.device, vmDescription: TestGuest.description, durable: false)
    return (store, disk)
  }

  func commit(_ store: Store, _ number: Int, _ epoch: Int) throws {
    try [0].withUnsafeBytes {
      try store.commit(
        CheckpointRecord(
          number: number, side: 0, entries: 0, deviceStateSize: UInt64($0.count), committedAt: 1,
          disks: ["disk0": epoch]), deviceState: $0)
    }
  }

  func redo() throws {
    let (store, manifest) = try Store.open(folder("store"))
    try store.disks(of: manifest, at: try store.checkpoint()).redo()
  }

  @Test("Disks are redone to the checkpoint that the store names, as often as one likes")
  func redone() throws {
    do {
      let (store, disk) = try standby()
      try write(disk, 1, 0..<10)
      // A seal whose commit never came.
      disk.ask()
      disk.flush()
      #expect(try disk.seal() == 1)
      disk.close()
      withExtendedLifetime(store) {}
    }
    try redo()
    #expect(try onDisk()[0] == 0)
    try redo()
    #expect(try DiskFolder(logs, create: false).state()?.continued == true)
    #expect(!FileManager.default.fileExists(atPath: logs + "/covered"))
  }

  @Test("Who opens the disks of a guest has changed nothing of them, and has them to itself")
  func opened() throws {
    do {
      let (store, disk) = try standby()
      try write(disk, 1, 0..<10)
      disk.close()
      withExtendedLifetime(store) {}
    }
    let before = try FileManager.default.contentsOfDirectory(atPath: logs).sorted()
    do {
      let (store, manifest) = try Store.open(folder("store"))
      let disks = try store.disks(of: manifest, at: nil)
      #expect(throws: StoreError.self) { try disk(.adopting) }
      withExtendedLifetime(disks) {}
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: logs).sorted() == before)
    // A primary that has gone on finds all that it was told is written.
    try Store.abandon(folder("store"))
    let next = try disk(.adopting)
    #expect(next.status.phase == .synced)
    #expect(try onDisk().prefix(11) == [UInt8](repeating: 1, count: 10) + [0])
  }

  @Test("Between the drop of what a checkpoint lacks and the word of it nothing can be adopted")
  func tornRedo() throws {
    do { try standby().1.close() }
    // As one leaves it who finds no room for the word.
    try redo()
    try alter { $0.continued = false }
    #expect(try disk(.adopting).status.covered == 0)
  }

  @Test(
    "One rename decides: before it the disks are the checkpoint before, after it they are the new")
  func oneRename() throws {
    do {
      let (store, disk) = try standby()
      try write(disk, 1, 0..<10)
      disk.ask()
      disk.flush()
      try commit(store, 1, try disk.seal())
      // Nobody has told the disk: the process died between the rename and everything after it.
      try write(disk, 2, 0..<5)
      disk.close()
    }
    try redo()
    #expect(try onDisk().prefix(11) == [UInt8](repeating: 1, count: 10) + [0])
  }

  @Test("Another protection's image is not taken for the guest's")
  func otherSession() throws {
    do { try standby().1.close() }
    try alter { $0.session = "another" }
    #expect(throws: StoreError.self) { try redo() }
  }

  @Test("An image of a guest that can still be continued is not written over unasked")
  func occupied() throws {
    do { try standby().1.close() }
    func expectOccupied(_ what: Comment) throws {
      let state = try DiskFolder(logs, create: false).state()
      do {
        _ = try disk()
        Issue.record(what)
      } catch { #expect((error as? StoreError)?.kind == .occupied, what) }
      #expect(try DiskFolder(logs, create: false).state() == state, what)
    }
    try expectOccupied("as it was left")
    // Nor is it after somebody has tried to.
    try redo()
    try expectOccupied("after a failover that has failed")
    let manifest = URL(filePath: folder("store") + "/manifest.json")
    let whole = try Data(contentsOf: manifest)
    var given = try JSONDecoder().decode(Manifest.self, from: whole)
    given.state = .handingOver
    try JSONEncoder().encode(given).write(to: manifest)
    try expectOccupied("while nobody knows who has it")
    // What cannot be read is no word that there is none.
    try Data("{".utf8).write(to: manifest)
    try expectOccupied("when its store is damaged")
    try whole.write(to: manifest)
    try expectOccupied("when its store is whole again")
    // The other way is to give that guest up.
    try Store.abandon(folder("store"))
    _ = try disk(.adopting)
  }

  @Test("Records of 0.1 are read, and those of now come back as they were")
  func records() throws {
    let old = #"{"number":7,"side":1,"entries":12,"deviceStateSize":345,"committedAt":1.5}"#
    let record = CheckpointRecord(
      number: 7, side: 1, entries: 12, deviceStateSize: 345, committedAt: 1.5)
    #expect(try JSONDecoder().decode(CheckpointRecord.self, from: Data(old.utf8)) == record)
    var new = record
    new.disks = ["disk0": 4, "disk-1.b": 7]
    #expect(try JSONDecoder().decode(CheckpointRecord.self, from: new.json) == new)
    #expect(try JSONDecoder().decode(CheckpointRecord.self, from: record.json) == record)
    let later = String(decoding: new.json, as: UTF8.self)
      .replacing("\"version\":2", with: "\"version\":3")
    #expect(throws: (any Error).self) {
      try JSONDecoder().decode(CheckpointRecord.self, from: Data(later.utf8))
    }
  }

  @Test("The image of a guest that runs here is not served to another")
  func running() throws {
    // As a QEMU says it of a disk that its guest has: by F_OFD_SETLK, 37 on Linux.
    let qemu = open(image, O_RDWR | O_CLOEXEC)
    defer { close(qemu) }
    var lock = flock()
    (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) = (Int16(F_RDLCK), 0, 100, 2)
    #expect(fcntl(qemu, 37, &lock) == 0)
    do {
      _ = try disk()
      Issue.record("it was")
    } catch { #expect((error as? StoreError)?.kind == .busy) }
    lock.l_type = Int16(F_UNLCK)
    #expect(fcntl(qemu, 37, &lock) == 0)
    _ = try disk()
  }

  @Test("An image that others can write to, or that is none, is not used")
  func untrusted() throws {
    chmod(image, 0o666)
    #expect(throws: StoreError.self) { try disk() }
    chmod(image, 0o644)
    #expect(throws: StoreError.self) { try DiskImage(folder.path) }
    #expect(throws: StoreError.self) { try DiskImage(folder("nothing")) }
    try Data().write(to: URL(filePath: folder("empty")))
    #expect(throws: StoreError.self) { try DiskImage(folder("empty")) }
    #expect(throws: StoreError.self) { try DiskImage("/dev/null") }
    let first = try disk()
    #expect(throws: StoreError.self) { try disk() }
    withExtendedLifetime(first) {}
  }
}

/// The same numbers for the same seed.
private struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}
