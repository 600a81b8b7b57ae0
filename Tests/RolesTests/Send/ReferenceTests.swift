import Foundation
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import System
import TestSupport
import Testing
import Transport
import Wire

@Suite("Sending what differs from an older version", .beside)
struct ReferenceTests {
  /// Backends for the channels, and how many of those there are.
  static let ways: [(Int, String?)] = [
    (0, nil), (1, nil), (3, "zstd"), (2, "lz4"), (2, "auto"),
  ]

  @Test("The new store is the source's, and nothing that was there has come", arguments: ways)
  func differs(channels: Int, compression: String?) throws {
    let guest = try VersionedGuest()
    let first = try LinkMove(guest.old, to: guest.folder("a"), channels: channels)
    let all = try first.sent.get()
    #expect(all.unchanged == nil && all.referenceBytes == nil)
    #expect(try first.received.get().reference == nil)
    let before = try VersionedGuest.contents(guest.folder("a"))
    let second = try LinkMove(
      guest.new, to: guest.folder("b"), reference: guest.folder("a"), channels: channels
    ) { $0.compression = (try? FormatWish(parsing: compression)) ?? .asTheyCome }
    let (sent, received) = (try second.sent.get(), try second.received.get())
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    let expected = VersionedGuest.differing
    #expect(sent.normal == UInt64(expected.normal) && sent.duplicate == UInt64(expected.zero))
    #expect(received.ram.normal == sent.normal && received.ram.duplicate == sent.duplicate)
    #expect(received.ram.unchanged == sent.unchanged)
    #expect(received.reference?.bytes == sent.referenceBytes)
    #expect(received.reference?.store == guest.folder("a"))
    #expect(sent.normal + sent.duplicate + (sent.unchanged ?? 0) == sent.total / 4096)
    // A page in twenty, less what compression saves, and headers.
    #expect(sent.transferred < all.transferred / 10)
    #expect(second.notes == [])
    // The older version is as it was.
    #expect(try VersionedGuest.contents(guest.folder("a")) == before)
  }

  @Test("Blocks that only one version has, or has as long, are sent whole")
  func otherBlocks() throws {
    let guest = try VersionedGuest(otherBlocks: true)
    for channels in [0, 2] {
      let move = try LinkMove(
        guest.new, to: guest.folder("b\(channels)"), reference: guest.old, channels: channels
      ) { $0.force = true }
      let (sent, received) = (try move.sent.get(), try move.received.get())
      try VersionedGuest.expectEqual(guest.folder("b\(channels)"), guest.new)
      #expect(received.ram.unchanged == sent.unchanged && sent.unchanged! > 1900)
      #expect(sent.normal > UInt64(VersionedGuest.differing.normal + 64))
    }
  }

  @Test("A guest of which the other side has all, and one of which it has nothing")
  func extremes() throws {
    let guest = try VersionedGuest()
    for channels in [0, 2] {
      let same = try LinkMove(
        guest.new, to: guest.folder("same\(channels)"), reference: guest.new, channels: channels
      ) { $0.force = true }
      try VersionedGuest.expectEqual(guest.folder("same\(channels)"), guest.new)
      let sent = try same.sent.get()
      #expect(sent.normal == 0 && sent.duplicate == 0 && sent.transferred < 20_000)
    }
    // The older version of another guest: whatever was in it goes.
    let held = try HeldSession("bios-111-none-2ch")
    let other = try LinkMove(
      held.path, to: guest.folder("other"), reference: guest.old)
    #expect(try other.sent.get().unchanged == other.received.get().ram.unchanged)
    try VersionedGuest.expectEqual(guest.folder("other"), held.path)
  }

  @Test("Through relays that pass packets on, the same; through others, everything")
  func relays() throws {
    if let reason = MultiFDProcess.unavailable { try Test.cancel("SKIPPED: \(reason)") }
    for (index, compression) in [nil, "zstd"].enumerated() {
      let guest = try VersionedGuest()
      let chains = Chains()
      let move = try LinkMove(
        guest.new, to: guest.folder("b"), reference: guest.old, channels: 2,
        through: { try chains.start(to: "link:" + $0, [compression, nil]) })
      let sent = try move.sent.get()
      try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
      for relay in try chains.wait() {
        #expect(relay.code == 0, "\(relay)")
        #expect(relay.json["result"].string == "migrated")
      }
      #expect((sent.unchanged != nil) == (index == 0))
      #expect(move.notes.count == index, "\(move.notes)")
    }
  }

  @Test("A reference from a slow disk, or of pages with next to nothing to tell, is no silence")
  func slowDisk() throws {
    if let reason = MultiFDProcess.unavailable { try Test.cancel("SKIPPED: \(reason)") }
    let guest = try VersionedGuest()
    let receive = try MultiFDProcess(
      [
        "receive", "--listen", "unix:" + guest.folder("socket"), "--store", guest.folder("b"),
        "--reference", guest.old,
      ], environment: SlowReads.environment(milliseconds: 60))
    var options = SendOptions(
      store: guest.new, to: try Destination(parsing: "link:" + receive.waitListening()))
    // All of it takes longer.
    options.timeout = 3
    let sent = try Sender(options, loader: TestBackends.loader).run()
    #expect(try receive.wait(.seconds(30)).code == 0)
    #expect(sent.unchanged != nil)
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
  }

  /// Makes each read of a part of a file as slow as a disk that does much else.
  private enum SlowReads {
    static func environment(milliseconds: Int) throws -> [String: String] {
      ["LD_PRELOAD": try shim.get()("shim.so"), "SLOW_READS": "\(milliseconds * 1000)"]
    }

    private static let shim: Result<TemporaryFolder, any Error> = Result {
      let folder = try TemporaryFolder()
      let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        #include <sys/types.h>
        #include <unistd.h>

        ssize_t pread(int f, void *b, size_t n, off_t o) {
          ssize_t (*next)(int, void *, size_t, off_t) =
            (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
          if (n >= 1 << 15) usleep(atoi(getenv("SLOW_READS")));
          return next(f, b, n, o);
        }
        """#
      try source.write(toFile: folder("shim.c"), atomically: false, encoding: .utf8)
      try CompiledOnce.make(
        ["/usr/bin/env", "cc", "-shared", "-fPIC", folder("shim.c")], at: folder("shim.so"))
      return folder
    }
  }

  private final class Chains: Sendable {
    private let chain = Monitor<RelayChain?>(nil)

    func start(to destination: String, _ compressions: [String?]) throws -> String {
      let new = try RelayChain(to: destination, compressions)
      chain.update { $0 = new }
      return new.entry
    }

    func wait() throws -> [MultiFDProcess.Result] { try chain.read { $0 }!.wait() }
  }

  /// A loader that finds the example backend too; announces and cancels where it cannot be built.
  private static func loader(_ plugins: ExamplePlugins) throws -> PluginLoader {
    if let reason = plugins.missing["delta"] { try Test.cancel("SKIPPED: \(reason)") }
    return TestBackends.loader(with: plugins.folder)
  }

  @Test(
    "A backend that uses a reference gets the pages whose old contents both sides have",
    arguments: [nil, "zstd", "delta", "auto"])
  func differences(compression: String?) throws {
    let plugins = try ExamplePlugins(["delta"])
    let loader = try Self.loader(plugins)
    let guest = try VersionedGuest(otherBlocks: true)
    // This side's copy, and how many pages of it are the far side's.
    let copies = [(guest.old, VersionedGuest.differing.written), (guest.new, 0)]
    for (index, (copy, written)) in copies.enumerated() {
      let new = guest.folder("b\(index)")
      let move = try LinkMove(
        guest.new, to: new, reference: guest.old, channels: 3, loader: loader
      ) { options in
        options.compression = (try? FormatWish(parsing: compression)) ?? .asTheyCome
        options.reference = copy
        options.force = true
      }
      let (sent, received) = (try move.sent.get(), try move.received.get())
      try VersionedGuest.expectEqual(new, guest.new)
      #expect(sent.differences == UInt64(written))
      #expect(received.compression.format?.contains("delta-lz4/1") == true)
      #expect(received.ram.normal == sent.normal && received.ram.unchanged == sent.unchanged)
    }
    // Without a reference the backend has none, on either side.
    let plain = try LinkMove(guest.new, to: guest.folder("c"), channels: 2, loader: loader) {
      $0.compression = (try? FormatWish(parsing: "delta")) ?? .asTheyCome
      $0.reference = guest.old
      $0.force = true
    }
    let sent = try plain.sent.get()
    #expect(sent.differences == nil && sent.compression.contains("delta"))
    try VersionedGuest.expectEqual(guest.folder("c"), guest.new)
  }

  @Test("Differences pass through relays, which do not look at them")
  func relayedDifferences() throws {
    if let reason = MultiFDProcess.unavailable { try Test.cancel("SKIPPED: \(reason)") }
    let plugins = try ExamplePlugins(["delta"])
    let loader = try Self.loader(plugins)
    let guest = try VersionedGuest()
    let chains = Chains()
    let move = try LinkMove(
      guest.new, to: guest.folder("b"), reference: guest.old, loader: loader,
      configure: { $0.reference = guest.old },
      through: { try chains.start(to: "link:" + $0, [nil, nil]) })
    #expect(try move.sent.get().differences == UInt64(VersionedGuest.differing.written))
    try VersionedGuest.expectEqual(guest.folder("b"), guest.new)
    for relay in try chains.wait() { #expect(relay.code == 0, "\(relay)") }
  }

  @Test("Differences are for channels of a link")
  func notForQEMU() throws {
    let guest = try VersionedGuest()
    for (to, channels) in [("unix:/nowhere", 2), ("link:unix:/nowhere", 0)] {
      var options = SendOptions(store: guest.new, to: try Destination(parsing: to))
      options.channels = channels
      options.reference = guest.old
      let failure = #expect(throws: Failure.self) {
        try Sender(options, loader: TestBackends.loader).run()
      }
      #expect(failure?.kind == .usage && failure?.why.contains("channels of a link") == true)
    }
  }

  @Test("A QEMU's guest comes whole, and the operator is told")
  func fromQEMU() throws {
    let guest = try VersionedGuest()
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    let reception = try Reception(Line.of(session)) { $0.reference = guest.old }
    try reception.expectHeld(StreamScript(session))
    #expect(try reception.result.get().reference == nil)
  }

  /// How a source leaves.
  enum End: CaseIterable, Sendable {
    case atOnce, insideReference, behindIt, insideStream
  }

  @Test(
    "A source that goes in the middle leaves no new store, and the older one",
    arguments: End.allCases)
  func broken(end: End) throws {
    let guest = try VersionedGuest()
    let before = try VersionedGuest.contents(guest.old)
    let folder = try TemporaryFolder()
    var options = ReceiveOptions(listen: .unix(path: folder("socket")), store: guest.folder("b"))
    options.timeout = 10
    options.reference = guest.old
    let helper = ThreadGroup()
    let receiver = Receiver(options, loader: TestBackends.loader)
    let failure = #expect(throws: Failure.self) {
      _ = try receiver.run { endpoint in
        try! helper.start("source") {
          let caller = LinkCaller(to: endpoint, timeout: 10, pageSize: 4096)
          let made = try! caller.main(
            offering: [], required: 0, reference: .random())
          #expect(made.hasReference)
          try! Self.leave(made.0, end)
        }
      } onProgress: { _ in
      }
    }
    helper.joinAll()
    #expect(failure?.kind == .failed || failure?.kind == .corrupt, "\(String(describing: failure))")
    #expect(SmallFileSystem.tree(guest.folder("b")) == [])
    #expect(try VersionedGuest.contents(guest.old) == before)
  }

  private static func leave(_ socket: Socket, _ end: End) throws {
    if end != .atOnce {
      var decoder = LinkReferenceDecoder(limits: StreamDecoder.Limits())
      var input = InputBuffer(socket)
      reading: while true {
        switch try decoder.next(input.bytes) {
        case .end: break reading
        case .needMore(let missing):
          guard try input.require(input.bytes.count + missing, idle: false) else { return }
        case .element(.hashes, _) where end == .insideReference: break reading
        case .element(_, let consumed): input.consume(consumed)
        }
      }
    }
    if end == .insideStream {
      var stream = StreamEncoder()
      stream.fileHeader()
      stream.configuration(Configuration(machine: "pc-q35-10.0"))
      stream.command(.openReturnPath)
      stream.beginSection(.start, id: 2, name: "ram", instance: 0, version: 4)
      stream.ramBlocks([RAMBlockDescription(name: "pc.ram", usedLength: 2048 << 12)])
      stream.endOfRAMSection()
      stream.footer(id: 2)
      stream.beginSection(.part, id: 2, name: "ram", instance: 0, version: 4)
      stream.pageRecord(block: 0, offset: 0)
      stream.raw([UInt8](repeating: 3, count: 2000))
      try socket.write(stream.bytes)
    }
    socket.cut()
  }

  @Test("What cannot be an older version is refused before anybody connects")
  func refused() throws {
    let guest = try VersionedGuest()
    func failure(_ reference: String, colo: Bool = false) throws -> Failure {
      var options = ReceiveOptions(
        listen: .unix(path: guest.folder("socket")), store: guest.folder("b"))
      options.reference = reference
      let receiver = Receiver(options, loader: TestBackends.loader)
      return try #require(throws: Failure.self) {
        guard colo else {
          _ = try receiver.run { _ in
            Issue.record("it listens")
          } onProgress: { _ in
          }
          return
        }
        _ = try receiver.runStandby(
          StandbyOptions(), onListening: { _ in Issue.record("it listens") }, onProgress: { _ in },
          onReady: {})
      }
    }
    #expect(try failure(guest.folder("none")).why.contains("there is no"))
    #expect(try failure(guest.old, colo: true).kind == .usage)
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: guest.old)
    let untrusted = try failure(guest.old)
    #expect(untrusted.kind == .refused && untrusted.hint?.contains("chmod go-w") == true)
    #expect(SmallFileSystem.tree(guest.folder("b")) == [])
  }
}
