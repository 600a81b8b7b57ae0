import Foundation
import Glibc
import Memory
import Store
import TestSupport
import Testing

@Suite("A store as the older version of a guest")
struct ReferenceTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws {
    folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    try TestGuest.held(in: path)
  }

  private func open(_ path: String) -> StoreError.Kind? {
    TestGuest.failure { () throws(StoreError) in
      _ = try Store.Reference(at: path, pageSize: TestGuest.page)
    }
  }

  /// What a store's file says, when it was last changed, and how much of it is memory.
  private static func file(_ path: String) throws -> (bytes: Data, changed: Int, blocks: Int) {
    var status = stat()
    #expect(stat(path, &status) == 0)
    return (
      try Data(contentsOf: URL(filePath: path)),
      status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec, Int(status.st_blocks)
    )
  }

  @Test("Its copy is as it is, holes too, and it is left as it was, also while it is used")
  func copies() throws {
    let (used, manifest) = try Store.open(path)
    let before = try manifest.blocks.map { try Self.file(path + "/" + $0.file) }
    let tree = SmallFileSystem.tree(path)
    let reference = try Store.Reference(at: path, pageSize: TestGuest.page)
    #expect(reference.names.map(\.name) == manifest.blocks.map(\.name))
    #expect(reference.names.map(\.length) == manifest.blocks.map(\.length))
    let new = try Store.prepare(folder("new"))
    for (index, block) in manifest.blocks.enumerated() {
      var shown = Data()
      var holes = 0
      let copy = try reference.begin(index, in: new) { stretch in
        switch stretch {
        case .hole(let pages):
          holes += pages
          shown += Data(count: pages * TestGuest.page)
        case .pages(let bytes): shown += bytes
        }
      }
      let file = try Self.file(new.path + "/" + block.file)
      #expect(file.bytes == before[index].bytes && shown == before[index].bytes)
      #expect(file.blocks <= before[index].blocks, "a hole became memory")
      #expect(index == 1 || holes >= 256)
      // It can be written and cleared as any other, and the old one does not see it.
      let last = block.length - UInt64(TestGuest.page)
      try copy.clear(pageAt: Int(last))
      try copy.reserve(pageAt: 0)
      memset(copy.base, 9, TestGuest.page)
      #expect((copy.base + Int(last)).load(as: UInt8.self) == 0)
      let after = try Self.file(path + "/" + block.file)
      #expect(after == before[index])
    }
    #expect(SmallFileSystem.tree(path) == tree)
    new.removeBlock(named: manifest.blocks[1].name)
    #expect(SmallFileSystem.names(new.path + "/ram") == ["pc.ram"])
    withExtendedLifetime(used) {}
  }

  @Test("Whatever has become of its guest, it was one")
  func states() throws {
    #expect(open(folder("no")) == .empty)
    for state in Manifest.State.allCases {
      try TestGuest.set(state, in: path)
      #expect(open(path) == (state == .receiving ? .empty : nil), "\(state)")
    }
    #expect(
      TestGuest.failure { () throws(StoreError) in
        _ = try Store.Reference(at: path, pageSize: 8192)
      } == .damaged)
  }

  @Test("What others could have put there is not read", arguments: ["manifest.json", "ram/pc.ram"])
  func hostile(name: String) throws {
    let file = path + "/" + name
    #expect(chmod(file, 0o666) == 0)
    #expect(open(path) == .untrusted)
    #expect(chmod(file, 0o600) == 0 && link(file, folder("second")) == 0)
    #expect(open(path) == .untrusted)
    #expect(unlink(folder("second")) == 0 && open(path) == nil)
    #expect(rename(file, folder("elsewhere")) == 0)
    #expect(symlink(folder("elsewhere"), file) == 0)
    #expect(open(path) == .untrusted)
  }

  @Test("A file that became shorter meanwhile is an error")
  func shorter() throws {
    let reference = try Store.Reference(at: path, pageSize: TestGuest.page)
    #expect(truncate(path + "/ram/pc.ram", 0) == 0)
    let new = try Store.prepare(folder("new"))
    // There is nothing but a hole left of it.
    _ = try reference.begin(0, in: new) { if case .pages = $0 { Issue.record("data") } }
  }
}
