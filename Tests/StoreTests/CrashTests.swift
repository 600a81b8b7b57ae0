import Foundation
import Glibc
import Memory
import Store
import TestSupport
import Testing

/// What a crash can leave: every prefix of the file operations that holding a guest really makes.
/// Each is replayed in a folder of its own, also with the last file half written, and opened.
///
/// The operations are not assumed but watched: inotify(7) tells them in order.
@Suite("A crash while a guest is being held")
struct CrashTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder(.memory(bytes: 64 << 20)) }

  /// One change of the store's folder.
  enum Operation: Equatable {
    case create(String), write(String), rename(from: String, to: String), other(String)
  }

  @Test("Every prefix of the operations leaves no guest or a whole guest")
  func prefixes() throws {
    let original = folder("original")
    let store = try Store.prepare(original)
    let blocks = try TestGuest.makeBlocks(store)
    let operations = try watch(original) {
      try store.hold(
        TestGuest.manifest, blocks: blocks, earlyState: TestGuest.early,
        deviceState: TestGuest.device, vmDescription: TestGuest.description)
    }
    // What makes a guest of it comes last and at once.
    #expect(operations.last == .rename(from: "manifest.json.new", to: "manifest.json"))
    #expect(
      operations.count { if case .rename(_, "manifest.json") = $0 { true } else { false } } == 1)
    #expect(operations.count >= 12)

    for count in 0...operations.count {
      for half in [false, true] {
        let crashed = folder("crashed-\(count)-\(half)")
        try replay(operations.prefix(count), of: original, in: crashed, half: half)
        if count == operations.count {
          try TestGuest.expectWhole(crashed)
          #expect(TestGuest.prepare(crashed) == .occupied)
        } else {
          #expect(TestGuest.open(crashed) == .empty, "after \(count) operations")
          #expect(TestGuest.open(crashed, handedOver: true) == .empty)
          #expect(TestGuest.prepare(crashed) == nil)
          #expect(SmallFileSystem.tree(crashed) == [])
        }
        try FileManager.default.removeItem(atPath: crashed)
      }
    }
    withExtendedLifetime(store) {}
  }

  /// How a hand-over ends, and what its store says then.
  enum End: String, CaseIterable {
    case taken, inPlace, refused, unknown
  }

  @Test(
    "A hand-over: each of its steps is the old state or the new one, wherever it is cut",
    arguments: End.allCases)
  func handOver(end: End) throws {
    let original = folder("original")
    try TestGuest.held(in: original)
    let store = try Store.open(original).store
    var handOver: HandOver?
    try expectOneStep(original, "begin", from: nil, to: .handedOver) {
      handOver = try HandOver.begin(to: "tcp:other:4444", from: store)
    }
    switch end {
    case .taken:
      try expectOneStep(original, "taken", from: .handedOver, to: .handedOver) {
        try handOver.take()?.taken(by: "tcp:other:4444")
      }
    case .inPlace:
      try expectOneStep(original, "inPlace", from: .handedOver, to: .used) {
        try handOver.take()?.taken(by: "failover to pid 7", inPlace: true)
      }
    case .refused:
      try expectOneStep(original, "refused", from: .handedOver, to: nil) {
        try handOver.take()?.refused()
      }
    case .unknown:
      let before = try Data(contentsOf: URL(filePath: original + "/manifest.json"))
      handOver.take()?.unknown()
      #expect(try Data(contentsOf: URL(filePath: original + "/manifest.json")) == before)
    }
    withExtendedLifetime(store) {}
  }

  /// Runs a step of a hand-over, and replays it up to each of its operations.
  ///
  /// - Parameters:
  ///   - before: what opening the store says until the manifest is renamed.
  ///   - after: what it says from then on.
  private func expectOneStep(
    _ original: String, _ name: String, from before: StoreError.Kind?, to after: StoreError.Kind?,
    _ step: () throws -> Void
  ) throws {
    let copy = folder("before-" + name)
    try FileManager.default.copyItem(atPath: original, toPath: copy)
    let state = try Store.status(of: copy).manifest?.state
    let operations = try watch(original, step)
    let next = try Store.status(of: original).manifest?.state
    #expect(state != next, "\(name)")
    let rename = Operation.rename(from: "manifest.json.new", to: "manifest.json")
    #expect(operations.count { $0 == rename } == 1, "\(name)")
    for count in 0...operations.count {
      for half in [false, true] {
        let crashed = folder("crashed")
        try FileManager.default.copyItem(atPath: copy, toPath: crashed)
        try replay(operations.prefix(count), of: original, in: crashed, half: half)
        let isDone = operations.prefix(count).contains(rename)
        #expect(TestGuest.open(crashed) == (isDone ? after : before), "\(name), \(count)")
        #expect(try Store.status(of: crashed).manifest?.state == (isDone ? next : state))
        #expect(TestGuest.prepare(crashed) == .occupied)
        if !isDone || after != .used { try TestGuest.expectWhole(crashed, handedOver: true) }
        try FileManager.default.removeItem(atPath: crashed)
      }
    }
  }

  @Test("A crash before anything was held: whatever the blocks' files are")
  func beforeHold() throws {
    let path = folder("store")
    for stage in 0..<4 {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      try TestGuest.mark(path)
      if stage > 0 {
        try FileManager.default.createDirectory(
          atPath: path + "/ram", withIntermediateDirectories: false)
      }
      if stage > 1 { try Data().write(to: URL(filePath: path + "/ram/pc.ram")) }
      if stage > 2 { truncate(path + "/ram/pc.ram", 3 << 20) }
      #expect(TestGuest.open(path) == .empty)
      #expect(TestGuest.prepare(path) == nil)
      #expect(SmallFileSystem.tree(path) == [])
    }
  }

  /// Does the operations in a folder; contents are those that the files finally had in the
  /// original.
  ///
  /// - Parameter half: the file of the last operation, if it was written to, got only a half of it.
  private func replay(
    _ operations: some Collection<Operation>, of original: String, in path: String, half: Bool
  ) throws {
    if !FileManager.default.fileExists(atPath: path) {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      try FileManager.default.copyItem(atPath: original + "/ram", toPath: path + "/ram")
      // Whoever has it makes the store's mark before anything else.
      try FileManager.default.copyItem(atPath: original + "/lock", toPath: path + "/lock")
    }
    for (index, operation) in operations.enumerated() {
      switch operation {
      case .create(let name): try Data().write(to: URL(filePath: path + "/" + name))
      case .write(let name):
        let final = name.hasSuffix(".new") ? String(name.dropLast(4)) : name
        let data = try Data(contentsOf: URL(filePath: original + "/" + final))
        let isCut = half && index == operations.count - 1
        try data.prefix(isCut ? data.count / 2 : data.count)
          .write(to: URL(filePath: path + "/" + name))
      case .rename(let from, let to): try #require(rename(path + "/" + from, path + "/" + to) == 0)
      case .other(let what): Issue.record("an operation that this test does not know: \(what)")
      }
    }
  }

  /// Runs `body` and tells what happened in a folder meanwhile.
  private func watch(_ path: String, _ body: () throws -> Void) throws -> [Operation] {
    let descriptor = inotify_init1(Int32(IN_NONBLOCK))
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let events = UInt32(IN_CREATE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE)
    try #require(inotify_add_watch(descriptor, path, events) >= 0)
    try body()
    var operations: [Operation] = []
    var from = ""
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = read(descriptor, &buffer, buffer.count)
    try #require(count > 0)
    buffer.withUnsafeBytes { bytes in
      var at = 0
      while at < count {
        // struct inotify_event: wd, mask, cookie, len, then `len` bytes of name with its NULs.
        let mask = bytes.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
        let length = Int(bytes.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self))
        let name = String(
          decoding: bytes[at + 16..<at + 16 + length].prefix { $0 != 0 }, as: UTF8.self)
        at += 16 + length
        switch Int32(mask) & 0xfff {
        case Int32(IN_CREATE): operations.append(.create(name))
        // Several writes to one file come as one or as several.
        case Int32(IN_MODIFY) where operations.last == .write(name): break
        case Int32(IN_MODIFY): operations.append(.write(name))
        case Int32(IN_MOVED_FROM): from = name
        case Int32(IN_MOVED_TO): operations.append(.rename(from: from, to: name))
        default: operations.append(.other("\(name), mask \(mask)"))
        }
      }
    }
    return operations
  }
}
