import Foundation
import Glibc
import Memory
import Store
import TestSupport
import Testing

@Suite("Damaged stores")
struct DamagedStoreTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }
  var manifest: URL { URL(filePath: path + "/manifest.json") }

  init() throws {
    folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    try TestGuest.held(in: path)
  }

  @Test(
    "A manifest that is no manifest is not taken for an empty store",
    arguments: [
      "", "{", "nonsense", "[]", "{}", #"{"format":1}"#, #"{"format":2}"#, #"{"format":"1"}"#,
      #"{"format":1,"state":"asleep"}"#,
    ])
  func nonsense(text: String) throws {
    try Data(text.utf8).write(to: manifest)
    #expect(TestGuest.open(path) == .damaged)
    #expect(TestGuest.open(path, handedOver: true) == .damaged)
    // Whatever it was, it may have been a guest: nothing is swept away.
    #expect(TestGuest.prepare(path) == .damaged)
    #expect(SmallFileSystem.tree(path).contains("ram/pc.ram"))
  }

  @Test("Every truncation of a manifest is noticed")
  func truncated() throws {
    let whole = try Data(contentsOf: manifest)
    for count in 0..<whole.count {
      try whole.prefix(count).write(to: manifest)
      #expect(TestGuest.open(path) == .damaged, "\(count) bytes")
    }
    try whole.write(to: manifest)
    try TestGuest.expectWhole(path)
  }

  @Test("What is there and cannot be read is not absent: that would be an older checkpoint")
  func unreadable() throws {
    let record = CheckpointRecord(
      number: 1, side: 0, entries: 0, deviceStateSize: 1, committedAt: 0)
    for name in ["checkpoint", "redone"] {
      // Even root cannot read a folder as a file.
      let folder = path + "/" + name
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: false)
      let store = try Store.open(path).store
      #expect(throws: StoreError.self, "\(name)") {
        _ = try store.checkpoint()
        _ = try store.needsRedo(record)
      }
      try FileManager.default.removeItem(atPath: folder)
      #expect(try store.checkpoint() == nil && store.needsRedo(record))
    }
    try Data("seven".utf8).write(to: URL(filePath: path + "/redone"))
    let store = try Store.open(path).store
    #expect(throws: StoreError.self) { try store.needsRedo(record) }
    try FileManager.default.removeItem(at: manifest)
    try FileManager.default.createDirectory(at: manifest, withIntermediateDirectories: false)
    #expect(throws: StoreError.self) { try Store.prepare(path) }
  }

  @Test("A manifest that cannot be read may be a guest's: its store is not one to be swept")
  func unreadableManifest() throws {
    try Data("{".utf8).write(to: URL(filePath: path + "/manifest.json"))
    #expect(throws: StoreError.self) { try Store.prepare(path) }
    #expect(throws: StoreError.self) { try Store.sweepAbandoned(path) }
    #expect(FileManager.default.fileExists(atPath: path + "/device-state"))
  }

  @Test("A newer layout is refused by its number")
  func newer() throws {
    try edit { $0["format"] = 7 }
    do {
      _ = try Store.open(path)
      Issue.record("opened")
    } catch {
      #expect(error.kind == .damaged && error.message.contains("format 7"))
    }
  }

  @Test("Members that a later version may add are passed over")
  func unknownMembers() throws {
    try edit { $0["later"] = ["a": 1] }
    try TestGuest.expectWhole(path)
  }

  /// What is wrong with a manifest that is good JSON.
  static let contradictions: [(String, @Sendable (inout [String: Any]) -> Void)] = [
    ("page size 0", { $0["pageSize"] = 0 }),
    ("negative page size", { $0["pageSize"] = -4096 }),
    ("page size that is no power of two", { $0["pageSize"] = 4097 }),
    ("tiny page size", { $0["pageSize"] = 8 }),
    ("huge page size", { $0["pageSize"] = 1 << 40 }),
    ("no blocks", { $0["blocks"] = [Any]() }),
    ("block of no length", { block(&$0) { $0["length"] = 0 } }),
    ("block that is not whole pages", { block(&$0) { $0["length"] = 4097 } }),
    ("block beyond every memory", { block(&$0) { $0["length"] = UInt64(1) << 63 } }),
    ("block without a name", { block(&$0) { $0["name"] = "" } }),
    (
      "block with a name that no stream can carry",
      { block(&$0) { $0["name"] = String(repeating: "x", count: 256) } }
    ),
    ("file outside of the store", { block(&$0) { $0["file"] = "../lock" } }),
    ("file by its full path", { block(&$0) { $0["file"] = "/etc/passwd" } }),
    ("file outside of its folder", { block(&$0) { $0["file"] = "ram/../lock" } }),
    (
      "two blocks of one name",
      { manifest in
        let blocks = manifest["blocks"] as! [Any]
        manifest["blocks"] = [blocks[0], blocks[0]]
      }
    ),
    ("no machine", { $0["machine"] = "" }),
  ]

  private static func block(
    _ manifest: inout [String: Any], _ change: (inout [String: Any]) -> Void
  ) {
    var blocks = manifest["blocks"] as! [[String: Any]]
    change(&blocks[0])
    manifest["blocks"] = blocks
  }

  @Test("A manifest that cannot be true", arguments: contradictions.map(\.0))
  func contradiction(name: String) throws {
    try edit(Self.contradictions.first { $0.0 == name }!.1)
    #expect(TestGuest.open(path) == .damaged)
    #expect(TestGuest.prepare(path) == .damaged)
  }

  @Test("Files that have not the sizes of the manifest, or are gone")
  func sizes() throws {
    let (store, manifest) = try Store.open(path)
    for (file, read) in [
      ("early-state", { try store.earlyState(manifest) }),
      ("device-state", { try store.deviceState(manifest) }),
      ("vm-description", { try store.vmDescription(manifest) }),
    ] as [(String, () throws -> [UInt8])] {
      let whole = try Data(contentsOf: URL(filePath: path + "/" + file))
      for bad in [whole.dropLast(), whole + [0], Data()] {
        try bad.write(to: URL(filePath: path + "/" + file))
        #expect(kind(of: read) == .damaged, "\(file), \(bad.count) bytes")
      }
      try FileManager.default.removeItem(atPath: path + "/" + file)
      #expect(kind(of: read) == .damaged, "\(file) is gone")
      try whole.write(to: URL(filePath: path + "/" + file))
      #expect(try read() == Array(whole))
    }
    for block in manifest.blocks {
      let file = path + "/" + block.file
      let open = { [UInt8](repeating: 0, count: try store.openBlock(block, pageSize: 4096).length) }
      for length in [0, Int(block.length) - 4096, Int(block.length) + 1] {
        #expect(truncate(file, off_t(length)) == 0)
        #expect(kind(of: open) == .damaged, "\(block.name), \(length) bytes")
      }
      #expect(truncate(file, off_t(block.length)) == 0)
      #expect(try open().count == Int(block.length))
      unlink(file)
      #expect(kind(of: open) == .damaged, "\(block.name) is gone")
    }
  }

  private func kind(of body: () throws -> [UInt8]) -> StoreError.Kind? {
    do {
      _ = try body()
      return nil
    } catch { return (error as? StoreError)?.kind }
  }

  private func edit(_ change: (inout [String: Any]) -> Void) throws {
    var json = try #require(
      JSONSerialization.jsonObject(with: Data(contentsOf: manifest)) as? [String: Any])
    change(&json)
    try JSONSerialization.data(withJSONObject: json).write(to: manifest)
  }
}
