import Foundation
import Glibc
import Store
import TestSupport
import Testing

@Suite("A guest's life in a store")
struct StoreLifeTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws { folder = try TemporaryFolder(.memory(bytes: 16 << 20)) }

  @Test("Preparing makes an empty folder that only its user can read")
  func prepare() throws {
    let store = try Store.prepare(path)
    #expect(SmallFileSystem.tree(path) == ["lock"])
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o700)
    withExtendedLifetime(store) {}
  }

  @Test("A folder that cannot be made, or is none")
  func noFolder() throws {
    #expect(TestGuest.prepare(folder("a/b/c")) == .system)
    try Data().write(to: URL(filePath: folder("file")))
    #expect(TestGuest.prepare(folder("file")) == .system)
    #expect(TestGuest.open(folder("file")) == .system)
    #expect(TestGuest.open(folder("nothing")) == .empty)
    #expect(!FileManager.default.fileExists(atPath: folder("nothing")), "opening makes nothing")
  }

  @Test("What is held comes back byte for byte, holes included")
  func hold() throws {
    try TestGuest.held(in: path)
    var status = stat()
    #expect(stat(path + "/ram/pc.ram", &status) == 0)
    #expect(status.st_size == 3 << 20 && status.st_blocks * 512 <= 1 << 20, "sparse")
    try TestGuest.expectWhole(path)
    try TestGuest.expectWhole(path)
  }

  @Test("Parts that are empty are held too")
  func emptyParts() throws {
    do {
      let store = try Store.prepare(path)
      try store.hold(
        TestGuest.manifest, blocks: TestGuest.makeBlocks(store), earlyState: Data(),
        deviceState: Data(), vmDescription: Data())
    }
    let (store, manifest) = try Store.open(path)
    #expect(try store.earlyState(manifest) == [] && store.deviceState(manifest) == [])
    #expect(try store.vmDescription(manifest) == [])
  }

  @Test(
    "A folder that holds a guest, or has handed one over, is not for another",
    arguments: [
      Manifest.State.held, .handingOver, .handedOver,
    ])
  func occupied(state: Manifest.State) throws {
    try TestGuest.held(in: path)
    try TestGuest.set(state, in: path)
    let before = SmallFileSystem.tree(path)
    #expect(TestGuest.prepare(path) == .occupied)
    #expect(SmallFileSystem.tree(path) == before, "nothing is swept away")
    try TestGuest.expectWhole(path, handedOver: true)
  }

  @Test("A guest that may run elsewhere is opened by force only")
  func handedOver() throws {
    try TestGuest.held(in: path)
    for state in [Manifest.State.handingOver, .handedOver] {
      try TestGuest.set(state, to: "tcp:other:4444", in: path)
      do {
        _ = try Store.open(path)
        Issue.record("opened while \(state)")
      } catch {
        #expect(error.kind == .handedOver)
        #expect(error.message.contains("tcp:other:4444"))
      }
      try TestGuest.expectWhole(path, handedOver: true)
    }
    try TestGuest.set(.held, in: path)
    try TestGuest.expectWhole(path)
  }

  @Test("What an interrupted migration left holds no guest and is swept away by the next")
  func interrupted() throws {
    do {
      let store = try Store.prepare(path)
      _ = try TestGuest.makeBlocks(store)
      try JSONEncoder().encode(TestGuest.manifest)
        .write(to: URL(filePath: path + "/manifest.json"))
      withExtendedLifetime(store) {}
    }
    #expect(TestGuest.open(path) == .empty)
    #expect(TestGuest.open(path, handedOver: true) == .empty)
    #expect(SmallFileSystem.tree(path).contains("ram/pc.ram"))
    #expect(TestGuest.prepare(path) == nil)
    #expect(SmallFileSystem.tree(path) == [])
  }

  @Test("Sweeping removes what a store writes and nothing else")
  func sweep() throws {
    let store = try Store.prepare(path)
    try Data("mine".utf8).write(to: URL(filePath: path + "/notes"))
    _ = try TestGuest.makeBlocks(store)
    for name in ["early-state", "device-state.new", "vm-description", "manifest.json.new"] {
      try Data("x".utf8).write(to: URL(filePath: path + "/" + name))
    }
    store.sweep()
    #expect(SmallFileSystem.tree(path) == ["lock", "notes"])
    store.sweep()
    try TestGuest.hold(store)
    #expect(SmallFileSystem.tree(path).contains("manifest.json"))
  }

  @Test("One at a time: a store in use is busy, for reading too")
  func busy() throws {
    try TestGuest.held(in: path)
    do {
      let (store, _) = try Store.open(path)
      #expect(TestGuest.open(path) == .busy)
      #expect(TestGuest.prepare(path) == .busy)
      withExtendedLifetime(store) {}
    }
    #expect(TestGuest.open(path) == nil, "free again")
    // As another process would hold it.
    let lock = open(path + "/lock", O_RDWR | O_CLOEXEC)
    #expect(flock(lock, LOCK_EX | LOCK_NB) == 0)
    #expect(TestGuest.open(path) == .busy)
    #expect(TestGuest.prepare(path) == .busy)
    close(lock)
    #expect(TestGuest.open(path) == nil)
  }

  @Test("A child process that outlives its parent does not keep the lock")
  func lockIsNotInherited() throws {
    try TestGuest.held(in: path)
    let store = try Store.open(path).store
    let child = Process()
    child.executableURL = URL(filePath: "/bin/sleep")
    child.arguments = ["60"]
    try child.run()
    defer {
      kill(child.processIdentifier, SIGKILL)  // SIGTERM may be blocked in the tests' threads
      child.waitUntilExit()
    }
    _ = consume store
    #expect(TestGuest.open(path) == nil)
  }
}
