import Foundation
import Glibc
import Memory
import Store
import TestSupport
import Testing

/// A guest that is held in two versions: the newer one has some pages otherwise.
struct VersionedGuest {
  static let page = 4096
  /// Pages of `pc.ram`.
  static let pages = 2048
  /// What a page of `pc.ram` may become.
  enum Change { case contents, zero }

  let folder: TemporaryFolder
  /// The store of the older version.
  var old: String { folder("old") }
  /// The store of the newer one.
  var new: String { folder("new") }

  /// Makes both.
  ///
  /// - Parameter otherBlocks: beside `pc.ram` and `pc.bios` there is one of another length in each,
  ///   and one that only one of them has.
  init(otherBlocks: Bool = false) throws {
    folder = try TemporaryFolder(.memory(bytes: 128 << 20))
    try hold(old, blocks: otherBlocks ? [("vga", 64), ("gone", 8)] : [], change: nil)
    try hold(new, blocks: otherBlocks ? [("vga", 128), ("come", 8)] : [], change: Self.changed)
  }

  /// Every 20th page.
  private static func changed(_ page: Int) -> Change? {
    page % 20 == 7 ? (page / 20 % 3 == 1 ? .zero : .contents) : nil
  }

  /// Pages that are not the same in both versions of `pc.ram`: those with contents, of them those
  /// that were not zero, and those that are zero.
  static let differing: (normal: Int, written: Int, zero: Int) = {
    var differing = (normal: 0, written: 0, zero: 0)
    for page in 0..<pages {
      switch changed(page) {
      case .contents:
        differing.normal += 1
        if isData(page) { differing.written += 1 }
      // A zero page that was one is the same.
      case .zero: if isData(page) { differing.zero += 1 }
      case nil: break
      }
    }
    return differing
  }()

  /// Three quarters have contents; the rest are holes.
  private static func isData(_ page: Int) -> Bool { page / 256 % 4 != 3 && page % 16 != 5 }

  private func hold(
    _ path: String, blocks: [(String, Int)], change: ((Int) -> Change?)?
  ) throws {
    let all = [("pc.ram", Self.pages), ("pc.bios", 64)] + blocks
    let manifest = Manifest(
      state: .receiving, machine: "pc-q35-10.0", pageSize: Self.page, ramSection: 2,
      blocks: all.map { Manifest.Block(name: $0.0, length: UInt64($0.1 * Self.page)) })
    let store = try Store.prepare(path)
    let memory = try manifest.blocks.map { try store.makeBlock($0, pageSize: Self.page) }
    for (block, description) in memory.enumerated() {
      for page in 0..<description.pageCount {
        let change = block == 0 ? change?(page) : nil
        guard change != .zero, Self.isData(page) || change != nil else { continue }
        let offset = page * Self.page
        try description.reserve(pageAt: offset)
        // Inside its mapping, and reserved.
        memset(
          description.base + offset, Int32(1 + (page * 7 + block) % 250), Self.page)
        (description.base + offset).storeBytes(of: UInt64(page), as: UInt64.self)
        if change != nil { memset(description.base + offset + 100, 0xfe, 64) }
      }
    }
    try store.hold(
      manifest, blocks: memory, earlyState: Data(), deviceState: Data([0]),
      vmDescription: Data())
  }

  /// The RAM files of a store are those of another.
  static func expectEqual(
    _ path: String, _ other: String, location: SourceLocation = #_sourceLocation
  ) throws {
    let manifest = try #require(try Store.status(of: path).manifest)
    let expected = try #require(try Store.status(of: other).manifest)
    #expect(manifest.blocks == expected.blocks, sourceLocation: location)
    #expect(
      Set(SmallFileSystem.names(path + "/ram"))
        == Set(manifest.blocks.map { String($0.file.dropFirst(4)) }), sourceLocation: location)
    for block in manifest.blocks {
      let (a, b) = (
        try Data(contentsOf: URL(filePath: path + "/" + block.file)),
        try Data(contentsOf: URL(filePath: other + "/" + block.file))
      )
      #expect(a == b, "\(block.name)", sourceLocation: location)
    }
  }

  /// The bytes of everything in a store but its lock.
  static func contents(_ path: String) throws -> [String: Data] {
    var contents: [String: Data] = [:]
    for name in SmallFileSystem.tree(path) where name != "lock" {
      contents[name] = try? Data(contentsOf: URL(filePath: path + "/" + name))
    }
    return contents
  }
}
