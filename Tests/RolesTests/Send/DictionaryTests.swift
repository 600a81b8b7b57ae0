import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

/// Formats that are encoded with a file, which the far side of a link has to have too.
@Suite(
  "Dictionaries over a link", .enabled(if: MisbehavingBackend.unavailable == nil), .beside)
struct DictionaryTests {
  private let backends: SpecimenBackends
  private let folder: TemporaryFolder
  private let guest: VersionedGuest

  init() throws {
    backends = try SpecimenBackends(["good-key"])
    folder = try TemporaryFolder()
    guest = try VersionedGuest(otherBlocks: true)
  }

  private var loader: PluginLoader {
    TestBackends.loader(with: backends.folder)
  }

  /// A file of so many bytes, and its digest.
  private func file(_ name: String, bytes: Int = 300) throws -> (path: String, digest: [UInt8]) {
    let contents = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ name.utf8.count) }
    let path = folder(name)
    try Data(contents).write(to: URL(filePath: path))
    let backend = try loader.load(named: "good-key")
    return (path, try backend.parse([(key: "key", value: path)]).files[0].digest)
  }

  /// Puts a file where an answering side looks.
  private func install(_ file: (path: String, digest: [UInt8]), as name: String? = nil) throws {
    let there = backends.folder + "/dictionaries"
    try FileManager.default.createDirectory(atPath: there, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: file.path, toPath: there + "/" + (name ?? OptionFile.name(file.digest)))
  }

  private func move(_ compression: String, through relays: Bool = false) throws -> LinkMove {
    try LinkMove(guest.new, to: guest.folder("b"), loader: loader) {
      $0.compression = (try? FormatWish(parsing: compression)) ?? .asTheyCome
      $0.force = true
    }
  }

  @Test("The far side finds it by what is in it")
  func found() throws {
    let key = try file("key")
    try install(key)
    let move = try move("good-key,key=\(key.path)")
    #expect(try move.sent.get().compression.contains("good-key"))
    #expect(try move.received.get().compression.format?.contains("sample-key/1") == true)
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
  }

  @Test("Where it is not there nothing is sent, and its name is said")
  func missing() throws {
    let (key, other) = (try file("key"), try file("another"))
    let name = OptionFile.name(key.digest)
    for wrong in [false, true] {
      // What is called so and is something else is not taken for it.
      if wrong { try install(other, as: name) }
      let move = try move("good-key,key=\(key.path)")
      let failure = #expect(throws: Failure.self) { try move.sent.get() }
      #expect(failure?.kind == .refused)
      #expect(
        failure?.why.contains("dictionaries/\(name)") == true, "\(String(describing: failure))")
      #expect(failure?.why.contains("sample-key/1") == true)
    }
    // The same guest goes without.
    _ = try move("good-key").sent.get()
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
  }

  @Test("An operator who names it on the answering side has the same one, or gets nothing")
  func named() throws {
    let (key, other) = (try file("key"), try file("another"))
    let format = try #require(LinkFormat("sample-key/1", bound: 600_000))
    let said = try #require(LinkFile(format: 1, option: "key", size: 300, digest: key.digest))
    let hello = try #require(
      LinkHello(
        session: .zero, role: .main, pageSize: 4096, capacity: 128, formats: [format],
        required: 1, files: [said]))
    func agree(_ spec: String) throws -> LinkBackends {
      try LinkHost(pageSize: 4096).agree(
        with: hello, loader: loader, only: CompressionSpec(parsing: spec))
    }
    #expect(try agree("good-key,key=\(key.path)").backends.map(\.name) == ["good-key"])
    let another = #expect(throws: LinkRefusal.self) { try agree("good-key,key=\(other.path)") }
    #expect(another?.text.contains("another one than \(OptionFile.name(key.digest))") == true)
    let none = #expect(throws: LinkRefusal.self) { try agree("good-key") }
    #expect(none?.text.contains(OptionFile.name(key.digest)) == true)
    try install(key)
    _ = try agree("good-key")
  }

  @Test("It is asked for over relays that do not look at it, which need none")
  func relayed() throws {
    if let reason = MultiFDProcess.unavailable { try Test.cancel("SKIPPED: \(reason)") }
    let key = try file("key")
    try install(key)
    // These do not have the backend.
    final class Chains: Sendable {
      nonisolated(unsafe) var chain: RelayChain?
    }
    let chains = Chains()
    let move = try LinkMove(
      guest.new, to: guest.folder("b"), loader: loader,
      configure: {
        $0.compression = (try? FormatWish(parsing: "good-key,key=\(key.path)")) ?? .asTheyCome
      },
      through: {
        let chain = try RelayChain(to: "link:" + $0, [nil, nil])
        chains.chain = chain
        return chain.entry
      })
    #expect(try move.received.get().compression.format?.contains("sample-key/1") == true)
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    for relay in try chains.chain?.wait() ?? [] { #expect(relay.code == 0, "\(relay)") }
  }

  static let unusable: [(String, String)] = [
    ("/nowhere/at/all", "No such file"), ("/", "is not a file"), ("/dev/zero", "is not a file"),
    ("SMALL", "must be a file of 16…4K bytes"), ("LARGE", "must be a file of 16…4K bytes"),
  ]

  @Test("A file that cannot be is refused before anybody is called", arguments: unusable)
  func refused(path: String, why: String) throws {
    let path =
      switch path {
      case "SMALL": try smaller(15)
      case "LARGE": try smaller(4097)
      default: path
      }
    let error = #expect(throws: PluginError.self) {
      try loader.load(named: "good-key").parse([(key: "key", value: path)])
    }
    #expect(
      error?.kind == .options && error?.why.contains(why) == true, "\(String(describing: error))")
  }

  private func smaller(_ bytes: Int) throws -> String {
    let path = folder("size")
    try Data(count: bytes).write(to: URL(filePath: path))
    return path
  }

  @Test(
    "plugins train makes one of guests in stores, the same of the same, and says what it is worth")
  func train() throws {
    if let reason = MultiFDProcess.unavailable { try Test.cancel("SKIPPED: \(reason)") }
    func train(_ output: String, _ more: [String] = []) throws -> MultiFDProcess.Result {
      try MultiFDProcess.run(
        [
          "plugins", "train", "good-key", "--plugin-dir", backends.folder, "--store", guest.new,
          "--output", output, "--json",
        ] + more)
    }
    let first = try train(folder("a"))
    #expect(first.code == 0, "\(first)")
    let json = first.json
    let contents = try Data(contentsOf: URL(filePath: folder("a")))
    #expect(json["size"].int == contents.count && contents.count == 256)
    #expect(json["option"].string == "key" && (json["pages"].int ?? 0) > 0)
    #expect((json["ratio"]["with"].double ?? 0) > 0 && (json["ratio"]["without"].double ?? 0) > 0)
    let sum = try ChildProcess(["/usr/bin/sha256sum", folder("a")])
    #expect(sum.wait(.seconds(30)) == .code(0))
    #expect(sum.output.text.hasPrefix(json["sha256"].string ?? "none"))
    #expect(try train(folder("b")).code == 0)
    #expect(try Data(contentsOf: URL(filePath: folder("b"))) == contents)
    // It is what a move can be made with.
    try install((folder("a"), try digest(folder("a"))))
    _ = try move("good-key,key=\(folder("a"))").sent.get()
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    // Nothing is overwritten, and what cannot be is said.
    let again = try train(folder("a"))
    #expect(again.code == 2 && again.errors.contains("is there already"), "\(again)")
    let small = try train(folder("c"), ["--size", "8"])
    #expect(small.code != 0 && small.errors.contains("16…4K"), "\(small)")
    #expect(access(folder("c"), F_OK) != 0)
    let lz4 = try MultiFDProcess.run([
      "plugins", "train", "lz4", "--store", guest.new, "--output", folder("d"),
    ])
    #expect(lz4.code == 2 && lz4.errors.contains("makes no file of pages"), "\(lz4)")
  }

  private func digest(_ path: String) throws -> [UInt8] {
    try loader.load(named: "good-key").parse([(key: "key", value: path)]).files[0].digest
  }
}
