import Foundation
import Glibc
import Store
import TestSupport
import Testing

/// Somebody else has had his hands in the folder.
@Suite("Stores that cannot be trusted")
struct StoreTrustTests {
  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws { folder = try TemporaryFolder(.memory(bytes: 16 << 20)) }

  private func error(_ body: () throws -> Void) -> StoreError? {
    do {
      try body()
      return nil
    } catch { return error as? StoreError }
  }

  private func expectUntrusted(
    _ words: String..., location: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    let error = error(body)
    #expect(error?.kind == .untrusted, "\(error?.message ?? "nothing")", sourceLocation: location)
    for word in words {
      let text = (error?.message ?? "") + " " + (error?.hint ?? "")
      #expect(text.contains(word), "\(text)", sourceLocation: location)
    }
  }

  @Test("A folder that others can write to", arguments: [mode_t(0o770), 0o777, 0o1777])
  func writable(mode: mode_t) throws {
    let hint = mode & 0o1000 != 0 ? "a folder of your own" : "chmod go-w \(path)"
    try TestGuest.held(in: path)
    #expect(chmod(path, mode) == 0)
    let who = mode == 0o770 ? "group" : "everybody"
    expectUntrusted(who, hint) { _ = try Store.open(path) }
    expectUntrusted(who) { _ = try Store.prepare(path) }
    #expect(mkdir(folder("empty"), 0o700) == 0 && chmod(folder("empty"), mode) == 0)
    expectUntrusted(who) { _ = try Store.prepare(folder("empty")) }
    #expect(SmallFileSystem.tree(folder("empty")) == [])
    #expect(try Store.status(of: path).manifest?.state == .held, "it may be looked at")
    #expect(chmod(path, 0o755) == 0)
    try TestGuest.expectWhole(path)
  }

  @Test(
    "A folder or a file of somebody else's",
    .enabled(if: geteuid() == 0, "SKIPPED: to give files away needs root"))
  func owner() throws {
    try TestGuest.held(in: path)
    for name in ["", "/manifest.json", "/ram", "/ram/pc.ram", "/device-state", "/lock"] {
      let file = path + name
      #expect(chown(file, 65534, 65534) == 0)
      expectUntrusted("belongs to user 65534") { try TestGuest.expectWhole(path) }
      #expect(try Store.status(of: path).manifest?.state == .held)
      #expect(chown(file, 0, 0) == 0)
    }
    try TestGuest.expectWhole(path)
  }

  @Test("A folder that is a link")
  func link() throws {
    try TestGuest.held(in: path)
    #expect(symlink(path, folder("link")) == 0 && symlink(folder("none"), folder("loose")) == 0)
    for name in [folder("link"), folder("link") + "/", folder("link") + "//"] {
      expectUntrusted("is a link") { _ = try Store.open(name) }
      expectUntrusted("is a link") { _ = try Store.prepare(name) }
    }
    expectUntrusted("is a link") { _ = try Store.prepare(folder("loose")) }
    #expect(!FileManager.default.fileExists(atPath: folder("none")))
    try TestGuest.expectWhole(path + "/")
  }

  @Test("New files are new: what a link in their place leads to is not written")
  func newFiles() throws {
    let store = try Store.prepare(path)
    let victim = folder("victim")
    try "precious".write(toFile: victim, atomically: false, encoding: .utf8)
    let names = [
      "early-state.new", "device-state.new", "vm-description.new", "manifest.json.new", "reserve",
      "device-state-a", "checkpoint.new", "redone.new", "state.new",
    ]
    for name in names { #expect(symlink(victim, path + "/" + name) == 0) }
    try TestGuest.hold(store)
    store.note(state: "tested")
    let record = CheckpointRecord(
      number: 1, side: 0, entries: 0, deviceStateSize: 8, committedAt: 0)
    try [UInt8](repeating: 1, count: 8).withUnsafeBytes {
      try store.commit(record, deviceState: $0)
    }
    // The state of the checkpoint before the last is replaced, and if it has another name that one
    // stays.
    #expect(Glibc.link(path + "/device-state-a", folder("hard")) == 0)
    try [UInt8](repeating: 2, count: 8).withUnsafeBytes {
      try store.commit(record, deviceState: $0)
    }
    try store.noteRedone(1)
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
    #expect(try Data(contentsOf: URL(filePath: folder("hard"))) == Data(repeating: 1, count: 8))
    #expect(try store.deviceState(record) == [UInt8](repeating: 2, count: 8))
  }

  /// What may lie where a file should be.
  enum Impostor: CaseIterable {
    case link, hardLink, fifo, writable

    func replace(_ file: String) {
      switch self {
      case .link: #expect(rename(file, file + ".real") == 0 && symlink(file + ".real", file) == 0)
      case .hardLink: #expect(Glibc.link(file, file + ".real") == 0)
      case .fifo: #expect(rename(file, file + ".real") == 0 && mkfifo(file, 0o600) == 0)
      case .writable: #expect(chmod(file, 0o620) == 0)
      }
    }
  }

  @Test("A file that is not what a store makes", arguments: Impostor.allCases)
  func impostors(impostor: Impostor) throws {
    for name in ["manifest.json", "device-state", "early-state", "ram/pc.ram", "lock"] {
      let path = folder(name.replacingOccurrences(of: "/", with: "-"))
      try TestGuest.held(in: path)
      impostor.replace(path + "/" + name)
      expectUntrusted(name) { try TestGuest.expectWhole(path) }
    }
  }

  @Test("A folder of RAM that is a link")
  func ram() throws {
    try TestGuest.held(in: path)
    #expect(rename(path + "/ram", folder("elsewhere")) == 0)
    #expect(symlink(folder("elsewhere"), path + "/ram") == 0)
    #expect(throws: StoreError.self) { try TestGuest.expectWhole(path) }
  }

  @Test("To look at a store follows no link, waits for nobody, and reads no more than there can be")
  func status() throws {
    for name in ["manifest.json", "checkpoint", "state"] {
      for impostor in [Impostor.link, .fifo] {
        let path = folder("\(name)-\(impostor)")
        try TestGuest.held(in: path)
        try #"{"number":1,"side":0,"entries":0,"deviceStateSize":0,"committedAt":0}"#
          .write(toFile: path + "/checkpoint", atomically: false, encoding: .utf8)
        try "x".write(toFile: path + "/state", atomically: false, encoding: .utf8)
        #expect(try Store.status(of: path).checkpoint?.number == 1)
        impostor.replace(path + "/" + name)
        #expect(throws: StoreError.self, "\(path)") { try Store.status(of: path) }
      }
    }
    try TestGuest.held(in: path)
    #expect(truncate(path + "/manifest.json", 1 << 40) == 0)
    #expect(throws: StoreError.self) { try Store.status(of: path) }
    #expect(throws: StoreError.self) { try Store.open(path) }
  }

  @Test("What a store says about itself does not steer the terminal")
  func terminal() throws {
    try TestGuest.held(in: path)
    try "\u{1b}[2Jready\nguest  held\n".write(
      toFile: path + "/state", atomically: false, encoding: .utf8)
    let result = try MultiFDProcess.run(["status", "--store", path])
    #expect(result.code == 0 && result.output.contains("activity    ?[2Jready guest"), "\(result)")
    #expect(!result.output.unicodeScalars.contains("\u{1b}"))
  }

  @Test("Sizes in a manifest are not allocated because it says so")
  func sizes() throws {
    try TestGuest.held(in: path)
    let (store, read) = try Store.open(path)
    var manifest = read
    for size in [UInt64(1) << 40, .max] {
      manifest.deviceStateSize = size
      if size < 1 << 50 { #expect(truncate(path + "/device-state", off_t(size)) == 0) }
      #expect(error { _ = try store.deviceState(manifest) }?.kind == .damaged)
    }
  }

  @Test("A record is written without the lock, and by no other way")
  func records() throws {
    try TestGuest.held(in: path)
    let store = try Store.open(path).store
    let victim = folder("victim")
    try "precious".write(toFile: victim, atomically: false, encoding: .utf8)
    for name in ["spare", "spare.new"] { #expect(symlink(victim, path + "/" + name) == 0) }
    expectUntrusted("spare") { _ = try StoreRecord.spare.contents(of: path) }
    try StoreRecord.spare.write(Data("1 2\n".utf8), to: path)
    #expect(try StoreRecord.spare.contents(of: path) == Data("1 2\n".utf8))
    try StoreRecord.spare.remove(from: path)
    #expect(try StoreRecord.spare.contents(of: path) == nil)
    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
    #expect(chmod(path, 0o777) == 0)
    expectUntrusted("chmod") { try StoreRecord.spare.write(Data(), to: path) }
    withExtendedLifetime(store) {}
  }
}
