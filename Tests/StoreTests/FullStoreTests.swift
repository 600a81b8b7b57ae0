import Foundation
import Glibc
import Store
import TestSupport
import Testing

@Suite(
  "Stores on a full file system",
  .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"))
struct FullStoreTests {
  /// Tries to hold the guest, sweeps on failure as a role does, and tells what went wrong.
  private func attempt(_ path: String) throws -> StoreError.Kind? {
    let store: Store
    do { store = try Store.prepare(path) } catch { return error.kind }
    do {
      try TestGuest.hold(store)
      return nil
    } catch let error as StoreError {
      #expect(!SmallFileSystem.tree(path).contains("manifest.json"), "no guest is here")
      store.sweep()
      #expect(SmallFileSystem.tree(path).allSatisfy { $0 == "lock" })
      return error.kind
    }
  }

  @Test("Whichever file there is no room for: no guest, and room again afterwards")
  func files() throws {
    // The root, the lock, ram, two blocks, three parts, the reserve and the manifest: 10.
    var outcomes: [StoreError.Kind?] = []
    for inodes in 2...13 {
      let system = try SmallFileSystem("size=16m,nr_inodes=\(inodes)")
      outcomes.append(try attempt(system.path))
      if outcomes.last == .some(nil) {
        try TestGuest.expectWhole(system.path)
      } else {
        #expect(SmallFileSystem.tree(system.path) == [])
      }
    }
    let failures = outcomes.prefix { $0 != nil }
    #expect(failures.count >= 6 && failures.dropFirst().allSatisfy { $0 == .full })
    #expect(outcomes.dropFirst(failures.count).allSatisfy { $0 == nil })
    #expect(outcomes.last == .some(nil))
  }

  @Test("Whichever page there is no room for")
  func pages() throws {
    // The blocks take 1 MiB and two pages, the reserve 64 KiB; the rest is device state and JSON.
    var failures = 0
    for pages in 266..<288 {
      let system = try SmallFileSystem("size=\(pages * 4096)")
      var outcome: StoreError.Kind?
      do { outcome = try attempt(system.path) } catch {
        // The blocks themselves have no room: an error of memory, not of the store.
        failures += 1
        Store.sweepAll(system.path)
        continue
      }
      if outcome == nil {
        try TestGuest.expectWhole(system.path)
      } else {
        #expect(outcome == .full)
        failures += 1
      }
    }
    #expect((8..<22).contains(failures))
  }

  @Test("A guest that is held can be handed on, also when there is no room any more")
  func reserve() throws {
    for options in ["size=16m", "size=16m,nr_inodes=20"] {
      let system = try SmallFileSystem(options)
      let path = system.path + "/store"
      try TestGuest.held(in: path)
      try Store.open(path).store.noteRedone(6)
      try system.fill()
      // No inode is left either, where they are counted.
      for number in 0..<20 where options.contains("nr_inodes") {
        let file = open(system.path + "/\(number)", O_CREAT | O_CLOEXEC, 0o600)
        if file >= 0 { close(file) }
      }
      do {
        let store = try Store.open(path).store
        #expect(TestGuest.failure { () throws(StoreError) in try store.noteRedone(7) } == .full)
        try store.noteRedone(7, usingReserve: true)
        for _ in 0..<2 {
          try HandOver.begin(to: "tcp:other:4444", from: store).refused()
          #expect(try Store.status(of: path).manifest?.state == .held)
        }
      }
      try TestGuest.expectWhole(path)
      try HandOver.begin(to: "tcp:other:4444", from: Store.open(path).store)
        .taken(by: "tcp:other:4444")
      #expect(TestGuest.open(path) == .handedOver)
      try TestGuest.expectWhole(path, handedOver: true)
    }
  }

  @Test("Without a reserve there is none: what the test above shows is not by chance")
  func noReserve() throws {
    let system = try SmallFileSystem("size=16m")
    try TestGuest.held(in: system.path + "/store")
    unlink(system.path + "/store/reserve")
    try system.fill()
    do {
      let store = try Store.open(system.path + "/store").store
      let failure = HandOverTests.failure { () throws(HandOver.NotBegun) in
        try HandOver.begin(to: "tcp:other:4444", from: store).unknown()
      }
      #expect(failure?.cause.kind == .full && failure?.isAsBefore == false)
    }
    try TestGuest.expectWhole(system.path + "/store")
  }
}

extension Store {
  /// Sweeps a folder whose store is gone.
  fileprivate static func sweepAll(_ path: String) { (try? prepare(path))?.sweep() }
}
