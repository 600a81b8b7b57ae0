import Foundation
import Glibc
import Store
import TestSupport
import Testing

@Suite("The store's lock")
struct LockTests {
  /// A process that forks copies every descriptor, also those that its exec will close: for that
  /// moment somebody else holds the lock's file open. A copy of our own stands for it here.
  @Test("A store that was let go is free, whoever still has the lock's file open")
  func letGo() throws {
    let folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    defer { folder.remove() }
    let path = folder("store")
    try TestGuest.held(in: path)
    var store: Store? = try Store.open(path).store
    #expect(TestGuest.prepare(path) == .busy)
    let descriptor = try lockDescriptor(path)
    let copy = dup(try #require(descriptor))
    defer { close(copy) }
    #expect(copy >= 0)
    withExtendedLifetime(store) {}
    store = nil
    #expect(TestGuest.open(path) == nil)
  }

  private func lockDescriptor(_ path: String) throws -> Int32? {
    let lock = URL(filePath: path + "/lock").resolvingSymlinksInPath().path
    return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
      .first { name in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name))
          == lock
      }.flatMap { Int32($0) }
  }
}
