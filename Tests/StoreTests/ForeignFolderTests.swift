import Foundation
import Glibc
import Store
import Synchronization
import TestSupport
import Testing

@Suite("Folders that are no stores")
struct ForeignFolderTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws { folder = try TemporaryFolder(.memory(bytes: 16 << 20)) }

  /// Every name that a store has, in a folder that has nothing to do with one.
  private func makeForeign() throws {
    for name in ["cache/photos", "ram"] {
      try FileManager.default.createDirectory(
        atPath: path + "/" + name, withIntermediateDirectories: true)
    }
    for name in [
      "cache/photos/a.jpg", "cache/index", "ram/notes", "state", "checkpoint", "redone", "spare",
      "device-state", "early-state", "mine",
    ] {
      try "x".write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
    }
  }

  @Test("A folder that is not empty and no store is refused, and stays as it is")
  func foreign() throws {
    try makeForeign()
    let before = SmallFileSystem.tree(path)
    #expect(TestGuest.prepare(path) == .foreign)
    #expect(TestGuest.open(path) == .empty)
    #expect(SmallFileSystem.tree(path) == before)
  }

  @Test(
    "Neither is it a store because of a lock or a manifest of somebody else's",
    arguments: [("lock", ""), ("lock", "4711\n"), ("manifest.json", #"{"name":"extension"}"#)])
  func foreignNames(name: String, text: String) throws {
    try makeForeign()
    try text.write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
    let before = SmallFileSystem.tree(path)
    #expect([.foreign, .damaged].contains(TestGuest.prepare(path)))
    #expect(TestGuest.open(path) != nil)
    #expect(SmallFileSystem.tree(path) == before)
    #expect(try String(contentsOfFile: path + "/" + name, encoding: .utf8) == text)
  }

  @Test("The root of the file system is no store")
  func root() {
    let before = SmallFileSystem.names("/")
    #expect([.foreign, .untrusted].contains(TestGuest.prepare("/")))
    #expect([.empty, .untrusted].contains(TestGuest.open("/")))
    #expect(SmallFileSystem.names("/") == before)
  }

  @Test("Where nothing comes of a store nothing stays: neither the mark nor a folder made for it")
  func nothingStays() throws {
    for _ in 0..<2 {
      #expect(TestGuest.prepare(path) == nil)
      #expect(!FileManager.default.fileExists(atPath: path))
    }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    #expect(TestGuest.prepare(path) == nil)
    #expect(FileManager.default.fileExists(atPath: path) && SmallFileSystem.tree(path) == [])
    // What others put there meanwhile is theirs.
    do {
      let store = try Store.prepare(path)
      _ = try TestGuest.makeBlocks(store)
      try "x".write(toFile: path + "/mine", atomically: false, encoding: .utf8)
      store.sweep()
    }
    #expect(SmallFileSystem.tree(path) == ["mine"])
    #expect(TestGuest.prepare(path) == .foreign)
  }

  @Test("A process that died before it could say so leaves an empty folder")
  func emptyLock() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try Data().write(to: URL(filePath: path + "/lock"))
    try TestGuest.held(in: path)
    try TestGuest.expectWhole(path)
  }

  @Test("A store from before there were marks is known by its manifest")
  func unmarked() throws {
    try TestGuest.held(in: path)
    for name in ["lock", "reserve"] { unlink(path + "/" + name) }
    try TestGuest.expectWhole(path)
    try Data().write(to: URL(filePath: path + "/lock"))
    try TestGuest.expectWhole(path)
    #expect(TestGuest.prepare(path) == .occupied)
    try TestGuest.expectWhole(path)
  }

  @Test("Sweeping follows no link and enters no folder that a store does not make")
  func links() throws {
    let (outside, victim) = (folder("outside"), folder("outside/victim"))
    try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: false)
    try "x".write(toFile: victim, atomically: false, encoding: .utf8)
    try FileManager.default.createDirectory(
      atPath: path + "/cache/photos", withIntermediateDirectories: true)
    try TestGuest.mark(path)
    for name in ["cache/photos/a.jpg", "cache/pages-a"] {
      try "x".write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
    }
    #expect(symlink(outside, path + "/ram") == 0 && symlink(victim, path + "/state") == 0)
    let store = try Store.prepare(path)
    #expect(
      SmallFileSystem.names(path) == ["cache", "lock", "ram"]
        && SmallFileSystem.tree(path + "/cache") == ["photos", "photos/a.jpg"])
    #expect(throws: StoreError.self) { try TestGuest.makeBlocks(store) }
    #expect(SmallFileSystem.tree(outside) == ["victim"])
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "x")
  }

  @Test("However many take a store and leave it at once, only one has it")
  func race() throws {
    let holders = Atomic(0), taken = Atomic(0), wrong = Atomic(0)
    let reasons = Mutex<Set<String>>([])
    let path = path
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      for _ in 0..<60 {
        do throws(StoreError) {
          let store = try Store.prepare(path)
          if holders.wrappingAdd(1, ordering: .sequentiallyConsistent).oldValue != 0 {
            wrong.wrappingAdd(1, ordering: .relaxed)
            reasons.withLock { _ = $0.insert("two have it") }
          }
          // It can be used: nobody has taken the folder away.
          store.note(state: "racing")
          if !FileManager.default.fileExists(atPath: path + "/state") {
            wrong.wrappingAdd(1, ordering: .relaxed)
            reasons.withLock { _ = $0.insert("the folder has gone") }
          }
          store.sweep()
          holders.wrappingSubtract(1, ordering: .sequentiallyConsistent)
          taken.wrappingAdd(1, ordering: .relaxed)
          withExtendedLifetime(store) {}
        } catch {
          if error.kind != .busy {
            wrong.wrappingAdd(1, ordering: .relaxed)
            reasons.withLock { _ = $0.insert("\(error.kind): \(error)") }
          }
        }
      }
    }
    #expect(
      wrong.load(ordering: .relaxed) == 0 && taken.load(ordering: .relaxed) > 0,
      "\(reasons.withLock { $0 })")
    // The folder may stay where the one that made it was not the one that had it.
    #expect(SmallFileSystem.tree(path) == [])
  }
}
