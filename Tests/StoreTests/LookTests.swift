import Foundation
import Glibc
import Memory
import Store
import TestSupport
import Testing

@Suite("Looking at a store without its lock")
struct LookTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws {
    folder = try TemporaryFolder(.memory(bytes: 16 << 20))
    try TestGuest.held(in: path)
  }

  private func look(handedOver: Bool = false) -> StoreError.Kind? {
    TestGuest.failure { () throws(StoreError) in
      let look = try Store.Look(at: path, handedOver: handedOver)
      for block in look.manifest.blocks { _ = try look.openBlock(block) }
    }
  }

  @Test("It sees what is there, in use or not, and leaves no trace")
  func sees() throws {
    let (used, manifest) = try Store.open(path)
    let before = SmallFileSystem.tree(path)
    let look = try Store.Look(at: path)
    #expect(look.manifest == manifest && look.earlyState == Array(TestGuest.early))
    let block = try look.openBlock(manifest.blocks[0])
    #expect((block.base + block.length - 1).load(as: UInt8.self) == 1)
    #expect(SmallFileSystem.tree(path) == before)
    withExtendedLifetime(used) {}
  }

  @Test("It sees a guest exactly where one could be opened")
  func states() throws {
    #expect(
      TestGuest.failure { () throws(StoreError) in _ = try Store.Look(at: folder("no")) } == .empty)
    for state in [
      Manifest.State.held, .standby, .unsettled, .handingOver, .handedOver, .receiving,
    ] {
      for (boot, failedOver) in [(nil, nil), ("another", nil), (nil, true)] as [(String?, Bool?)] {
        let text = try JSONEncoder().encode(manifest(state, boot, failedOver))
        try text.write(to: URL(filePath: path + "/manifest.json"))
        for handedOver in [false, true] {
          #expect(
            look(handedOver: handedOver) == TestGuest.open(path, handedOver: handedOver),
            "\(state), \(boot ?? "this boot"), \(handedOver)")
        }
      }
    }
  }

  private func manifest(
    _ state: Manifest.State, _ boot: String?, _ failedOver: Bool?
  ) throws -> Manifest {
    var manifest = TestGuest.manifest
    manifest.state = state
    manifest.earlyStateSize = UInt64(TestGuest.early.count)
    manifest.boot = boot
    manifest.failedOver = failedOver
    return manifest
  }

  @Test(
    "A file that is a link, no plain file, of the wrong size or not there is not used",
    arguments: ["manifest.json", "early-state", "ram/pc.ram"])
  func hostile(name: String) throws {
    let file = path + "/" + name
    let whole = try Data(contentsOf: URL(filePath: file))
    let changes: [(String) throws -> Void] = [
      {
        try whole.write(to: URL(filePath: folder("elsewhere")))
        try FileManager.default.createSymbolicLink(
          atPath: $0, withDestinationPath: folder("elsewhere"))
      },
      { mkfifo($0, 0o600) }, { mkdir($0, 0o700) },
      { try whole.dropLast().write(to: URL(filePath: $0)) }, { _ in },
    ]
    for change in changes {
      try FileManager.default.removeItem(atPath: file)
      try change(file)
      let refusal = look()
      #expect(
        refusal == .damaged || refusal == .untrusted
          || (name == "manifest.json" && refusal == .empty), "\(String(describing: refusal))")
      try? FileManager.default.removeItem(atPath: file)
      try whole.write(to: URL(filePath: file))
      #expect(look() == nil)
    }
  }

  @Test("A verdict is written as a whole, over a link too, and read back only as a plain file")
  func verdict() throws {
    let look = try Store.Look(at: path)
    #expect(Store.Look.rehearsal(of: path) == nil)
    let target = folder("target")
    try Data("mine".utf8).write(to: URL(filePath: target))
    try FileManager.default.createSymbolicLink(
      atPath: path + "/rehearsal", withDestinationPath: target)
    #expect(Store.Look.rehearsal(of: path) == nil)
    look.note(rehearsal: Data("{}".utf8))
    #expect(Store.Look.rehearsal(of: path) == Data("{}".utf8))
    #expect(try Data(contentsOf: URL(filePath: target)) == Data("mine".utf8))
    let attributes = try FileManager.default.attributesOfItem(atPath: path + "/rehearsal")
    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
  }
}
