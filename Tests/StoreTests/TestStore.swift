// Store's tests: a guest's life in a folder, what is damaged, what is full, and what a crash
// leaves.

import Foundation
import Memory
import Store
import TestSupport
import Testing

/// A small guest, and how to put it into a store.
enum TestGuest {
  static let page = 4096
  static let early = Data([4, 0, 0, 0, 1])
  static let device = Data((0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) } + [0])
  static let description = Data([6, 0, 0, 0, 2, 0x7b, 0x7d])

  static let manifest: Manifest = {
    var manifest = Manifest(
      state: .receiving, machine: "pc-q35-10.0", pageSize: page, ramSection: 2,
      blocks: [
        Manifest.Block(name: "pc.ram", length: 3 << 20),
        Manifest.Block(name: "/rom@etc/acpi/tables", length: 2 * UInt64(page)),
      ])
    manifest.uuid = "00112233-4455-6677-8899-aabbccddeeff"
    manifest.sync = "flush"
    return manifest
  }()

  /// Blocks with something in them.
  static func makeBlocks(_ store: Store) throws -> [RAMBlock] {
    let blocks = try manifest.blocks.map { try store.makeBlock($0, pageSize: page) }
    for (index, block) in blocks.enumerated() {
      let offset = block.length - page
      try block.reserve(pageAt: offset)
      memset(block.base + offset, Int32(index + 1), page)
    }
    return blocks
  }

  /// Receives and holds it.
  static func hold(_ store: Store) throws {
    try store.hold(
      manifest, blocks: makeBlocks(store), earlyState: early, deviceState: device,
      vmDescription: description)
  }

  /// What every store's folder has from its first moment on.
  static func mark(_ path: String) throws {
    try "multifd store 1\n".write(toFile: path + "/lock", atomically: false, encoding: .utf8)
  }

  /// A store that holds it, closed again.
  static func held(in path: String) throws { try hold(Store.prepare(path)) }

  /// Has a store say something else of its guest, as an earlier process may have left it.
  static func set(_ state: Manifest.State, to taker: String? = nil, in path: String) throws {
    var manifest = try #require(try Store.status(of: path).manifest)
    manifest.state = state
    manifest.handedOverTo = taker
    try JSONEncoder().encode(manifest).write(to: URL(filePath: path + "/manifest.json"))
  }

  /// Opens it and compares everything with what was held.
  static func expectWhole(_ path: String, handedOver: Bool = false) throws {
    let (store, found) = try Store.open(path, handedOver: handedOver)
    #expect(found.machine == manifest.machine && found.uuid == manifest.uuid)
    #expect(found.blocks == manifest.blocks && found.heldAt != nil)
    #expect(try store.earlyState(found) == Array(early))
    #expect(try store.deviceState(found) == Array(device))
    #expect(try store.vmDescription(found) == Array(description))
    for (index, description) in found.blocks.enumerated() {
      let block = try store.openBlock(description, pageSize: found.pageSize)
      // Read, not through the mapping: there a hole becomes memory, and on a full tmpfs a SIGBUS.
      var bytes = [UInt8](repeating: 0, count: block.length)
      #expect(pread(block.descriptor, &bytes, bytes.count, 0) == bytes.count)
      #expect(bytes.dropLast(page).allSatisfy { $0 == 0 })
      #expect(bytes.suffix(page).allSatisfy { $0 == UInt8(index + 1) })
    }
  }

  /// What `Store.prepare` or `Store.open` throws; nil when it throws nothing.
  static func failure(_ body: () throws(StoreError) -> Void) -> StoreError.Kind? {
    do {
      try body()
      return nil
    } catch { return error.kind }
  }

  static func prepare(_ path: String) -> StoreError.Kind? {
    failure { () throws(StoreError) in _ = try Store.prepare(path) }
  }

  static func open(_ path: String, handedOver: Bool = false) -> StoreError.Kind? {
    failure { () throws(StoreError) in _ = try Store.open(path, handedOver: handedOver) }
  }
}
