import Foundation
import Migration
import Roles
import SessionReplay
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("Inspecting recorded links", .beside)
struct InspectLinkTests {
  private static let session = VMUUID(bytes: Array(1...16))!
  // QEMU's bit of zlib is the first index.
  private static let zlib = LinkFormat("zlib/1", bound: 600_000)!
  private static let formats = LinkFormats([zlib])!

  private static func hello(_ role: LinkRole) -> [UInt8] {
    LinkHello(
      session: session, role: role, pageSize: 4096, capacity: 128,
      formats: role == .main ? [zlib] : [], required: role == .main ? 1 : 0)!.encode()
  }

  private func inspect(
    _ bytes: [UInt8], _ formats: LinkFormats? = nil, files: [InspectReport.Link.File] = [],
    onMissing: @escaping @Sendable () -> Void = {}
  ) -> (report: InspectReport, lines: [InspectLine]) {
    var inspector = Inspector(path: "memory")
    (inspector.formats, inspector.files) = (formats, files)
    inspector.checkPayloads(TestBackends.loader) { _ in onMissing() }
    var lines: [InspectLine] = []
    let report = bytes.withUnsafeBytes { inspector.inspect($0) { lines.append($0) } }
    return (report, lines)
  }

  @Test("A QEMU's stream behind a hello is told as without, that much further on")
  func stream() throws {
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    for (file, role) in zip(session.sourceFiles, [LinkRole.main, .channel(0), .channel(1)]) {
      let plain = try Fixtures.bytes(file)
      let hello = Self.hello(role)
      let (alone, link) = (inspect(plain), inspect(hello + plain, Self.formats))
      #expect(link.report.verdict.ending == .complete, "\(link.report.verdict)")
      #expect(link.report.link?.role == "\(role)")
      #expect(link.report.main == alone.report.main)
      #expect(
        link.lines.dropFirst().map(\.offset) == alone.lines.map { $0.offset + UInt64(hello.count) })
      if role != .main { #expect(link.report.channel?.methods.keys.sorted() == ["zlib/1"]) }
    }
  }

  @Test("Without the answer a channel's formats have numbers, and are not decoded")
  func unknown() throws {
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    let bytes = Self.hello(.channel(0)) + (try Fixtures.bytes(#require(session.channels.first)))
    let missing = Atomic(0)
    let report = inspect(bytes) { missing.add(1, ordering: .relaxed) }.report
    #expect(report.verdict.ending == .complete && missing.load(ordering: .relaxed) == 1)
    #expect(report.channel?.methods.keys.sorted() == ["index-1/1"])
    // With another format agreed, the payloads are none of it.
    let lz4 = LinkFormats([LinkFormat("lz4/1", bound: 600_000)!])
    #expect(inspect(bytes, lz4).report.verdict.ending == .corrupt)
    // And an index that was not agreed is none.
    #expect(inspect(bytes, .rawOnly).report.verdict.reason?.contains("0 were agreed") == true)
  }

  @Test("A file that a format is encoded with is told by its name, and looked for by it")
  func files() throws {
    let digest = (0..<32).map { UInt8($0) }
    let file = try #require(LinkFile(format: 1, option: "key", size: 300, digest: digest))
    let hello = try #require(
      LinkHello(
        session: Self.session, role: .main, pageSize: 4096, capacity: 128, formats: [Self.zlib],
        files: [file]))
    let (report, lines) = inspect(hello.encode())
    let told = try #require(report.link?.files)
    let name = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f.dict"
    #expect(told.map(\.name) == [name] && told.map(\.option) == ["key"])
    #expect(told.map(\.format) == ["zlib/1"] && told.map(\.size) == [300])
    #expect(lines.first?.detail.contains("zlib/1 with key \(name), 300 bytes") == true)
    // Nobody has it, so nothing is decoded.
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    let bytes = Self.hello(.channel(0)) + (try Fixtures.bytes(#require(session.channels.first)))
    let missing = Atomic(0)
    let without = inspect(bytes, Self.formats, files: told) {
      missing.add(1, ordering: .relaxed)
    }.report
    #expect(without.verdict.ending == .complete && missing.load(ordering: .relaxed) == 1)
  }

  @Test("An answer says what was agreed, and what came back behind it")
  func answer() throws {
    let back = ReturnPathMessage.pong(1).encode() + ReturnPathMessage.shut(0).encode()
    let (report, lines) = inspect(LinkAnswer.accepted(Self.formats).encode() + back)
    #expect(report.link?.agreed?.agreed.map(\.name) == ["zlib/1"])
    #expect(report.elements == ["return-path-messages": 2])
    #expect(lines.first?.detail == "accepted, 1 = zlib/1")
    let refused = inspect(LinkAnswer.refused(LinkRefusal("busy")).encode())
    #expect(refused.report.link?.refused == "busy" && refused.report.link?.agreed == nil)
  }

  @Test("An answer's reference is told by its numbers, and what comes behind it too")
  func reference() throws {
    var encoder = LinkReferenceEncoder([RAMBlockDescription(name: "pc.ram", usedLength: 5 << 12)])
    encoder.pages([PageHash(first: 1, second: 2), PageHash(first: 3, second: 4)])
    encoder.zero(pages: 3)
    let answer = LinkAnswer.accepted(.rawOnly, reference: true).encode()
    let whole = answer + encoder.bytes + ReturnPathMessage.shut(0).encode()
    let (report, lines) = inspect(whole)
    #expect(report.verdict.ending == .complete)
    #expect(
      report.elements
        == ["reference-hashes": 2, "reference-zero-pages": 3, "return-path-messages": 1])
    #expect(lines.map(\.what) == ["answer", "block", "reference", "return path"])
    for count in answer.count..<answer.count + encoder.bytes.count {
      #expect(inspect(Array(whole.prefix(count))).report.verdict.ending == .truncated)
    }
  }

  @Test("Every truncation of a hello and of an answer is one")
  func truncations() {
    for whole in [Self.hello(.main), LinkAnswer.accepted(Self.formats).encode()] {
      for count in 8..<whole.count {
        let verdict = inspect(Array(whole.prefix(count))).report.verdict
        #expect(verdict.ending == .truncated && verdict.offset == UInt64(count), "\(verdict)")
      }
    }
  }
}
