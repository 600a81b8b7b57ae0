import Foundation
import Memory
import Store
import TestSupport
import Testing

/// What huge pages for stores are mounted on. That they serve a guest is for real QEMUs to say.
@Suite("File systems of huge pages") struct StoreMountTests {
  private static let reason = HugePageStore.unavailable(.tmpfs)

  @Test(
    "Nothing is mounted over what is there, nor twice",
    .enabled(if: reason == nil, "SKIPPED: mounting needs root"))
  func refused() throws {
    let folder = try TemporaryFolder()
    let path = folder("memory")
    #expect(try StoreMount.tmpfs(on: path, size: 4 << 20).fileSystem == .tmpfs)
    defer { umount2(path, Int32(MNT_DETACH)) }
    var error = #expect(throws: StoreError.self) { try StoreMount.tmpfs(on: path, size: nil) }
    #expect(error?.kind == .busy && error?.hint == "umount \(path)")
    // What is in a folder stays in sight.
    let full = folder("full")
    try FileManager.default.createDirectory(atPath: full, withIntermediateDirectories: false)
    try Data("x".utf8).write(to: URL(filePath: full + "/file"))
    error = #expect(throws: StoreError.self) { try StoreMount.tmpfs(on: full, size: nil) }
    #expect(error?.kind == .foreign)
    error = #expect(throws: StoreError.self) { try StoreMount.hugetlbfs(in: full, size: nil) }
    #expect(error?.kind == .foreign)
    #expect(FileManager.default.fileExists(atPath: full + "/file"))
    // A store in it is one like any other.
    let store = try Store.prepare(path + "/guest")
    #expect(store.path == path + "/guest")
  }

  @Test(
    "A store keeps its huge pages when a guest has gone",
    .enabled(if: reason == nil, "SKIPPED: mounting needs root"))
  func swept() throws {
    let folder = try TemporaryFolder()
    let path = folder("guest")
    #expect(try StoreMount.hugetlbfs(in: path, size: nil).isHuge)
    defer { umount2(path + "/ram", Int32(MNT_DETACH)) }
    let error = #expect(throws: StoreError.self) {
      try StoreMount.hugetlbfs(in: path, size: nil)
    }
    #expect(error?.kind == .busy)
    func device(_ path: String) -> dev_t {
      var status = stat()
      return stat(path, &status) == 0 ? status.st_dev : 0
    }
    do {
      let store = try Store.prepare(path)
      store.sweep()
    }
    #expect(device(path + "/ram") != device(path) && device(path + "/ram") != 0)
    // It can still become a guest's.
    _ = try Store.prepare(path)
  }
}
