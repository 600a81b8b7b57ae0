import Foundation
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
      #expect(SmallFileSystem.tree(path) == ["lock"])
      return error.kind
    }
  }

  @Test("Whichever file there is no room for: no guest, and room again afterwards")
  func files() throws {
    // The root, the lock, ram, two blocks, three parts and the manifest: 9. One more while it is replaced.
    var outcomes: [StoreError.Kind?] = []
    for inodes in 2...12 {
      let system = try SmallFileSystem("size=16m,nr_inodes=\(inodes)")
      outcomes.append(try attempt(system.path))
      if outcomes.last == .some(nil) { try TestGuest.expectWhole(system.path) }
    }
    let failures = outcomes.prefix { $0 != nil }
    #expect(failures.count >= 6 && failures.dropFirst().allSatisfy { $0 == .full })
    #expect(outcomes.dropFirst(failures.count).allSatisfy { $0 == nil })
    #expect(outcomes.last == .some(nil))
  }

  @Test("Whichever page there is no room for")
  func pages() throws {
    // The blocks take 1 MiB and two pages; the rest is device state and JSON.
    var failures = 0
    for pages in 250..<270 {
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
    #expect((8..<20).contains(failures))
  }
}

extension Store {
  /// Sweeps a folder whose store is gone.
  fileprivate static func sweepAll(_ path: String) { (try? prepare(path))?.sweep() }
}
