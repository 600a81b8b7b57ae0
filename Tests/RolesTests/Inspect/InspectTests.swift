import Foundation
import Migration
import Roles
import SessionReplay
import TestSupport
import Testing
import Wire

@Suite("Inspecting recorded streams", .beside)
struct InspectTests {
  /// The report and the lines of bytes that are in memory.
  private func inspect(
    _ bytes: [UInt8], verbose: Bool = false
  ) -> (report: InspectReport, lines: [InspectLine]) {
    var inspector = Inspector(path: "memory")
    inspector.isVerbose = verbose
    var lines: [InspectLine] = []
    let report = bytes.withUnsafeBytes { inspector.inspect($0) { lines.append($0) } }
    return (report, lines)
  }

  @Test("Every file of a session is complete, and their counts agree", arguments: Fixtures.sessions)
  func sessions(session: Fixtures.Session) throws {
    var main: InspectReport.Main?
    for file in session.sourceFiles {
      var lines = 0
      let report = try Inspector(path: file.path).run { _ in lines += 1 }
      #expect(report.verdict.ending == .complete, "\(report.verdict)")
      #expect(report.verdict.offset == report.size)
      #expect(lines > 1)
      if let found = report.main {
        main = found
        #expect(found.machine?.hasPrefix("pc-") == true)
        #expect(found.descriptionAgrees == true)
        #expect(found.devices >= 20)
        #expect((found.checkpoints >= 4) == session.isCOLO)
      } else {
        let channel = try #require(report.channel)
        #expect(channel.syncs == main?.syncPoints)
        #expect(channel.packets == report.elements["packets"])
      }
    }
  }

  @Test("Verbose lines are one a record, and say the same in the end")
  func verbose() throws {
    for name in ["bios-72-zlib-2ch", "bios-colo-111-plain"] {
      let session = try #require(Fixtures.session(name))
      for file in session.sourceFiles {
        let bytes = try Fixtures.bytes(file)
        let (brief, verbose) = (inspect(bytes), inspect(bytes, verbose: true))
        #expect(brief.report == verbose.report)
        #expect(brief.lines.count < 200)
        let records = verbose.lines.count { $0.what == "zero page" || $0.what == "page" }
        let pages = verbose.report.main.map { $0.normal + $0.duplicate } ?? 0
        #expect(UInt64(records) == pages)
        #expect(verbose.lines.map(\.offset) == verbose.lines.map(\.offset).sorted())
      }
    }
  }

  @Test("A stream that breaks off is truncated at its end")
  func truncated() throws {
    let session = try #require(Fixtures.session("bios-colo-111-none-2ch"))
    for file in session.sourceFiles {
      let bytes = try Fixtures.bytes(file)
      for count in [5, 100, bytes.count / 2, bytes.count - 1] {
        let report = inspect(Array(bytes.prefix(count))).report
        #expect(report.verdict.ending == .truncated, "\(report.verdict)")
        #expect(report.verdict.offset == UInt64(count))
      }
    }
    let main = try Fixtures.bytes(session.main)
    let reason = inspect(main.dropLast()).report.verdict.reason
    #expect(reason == "the stream ends inside checkpoint 5; 4 are complete")
  }

  @Test("A wrong byte makes a stream corrupt there")
  func corrupt() throws {
    let session = try #require(Fixtures.session("bios-72-none-2ch"))
    var main = try Fixtures.bytes(session.main)
    // The first zero record of the first PART: its flags become unknown.
    let record = try #require(inspect(main, verbose: true).lines.first { $0.what == "zero page" })
    main[Int(record.offset) + 7] |= 1
    let verdict = inspect(main).report.verdict
    #expect(verdict.ending == .corrupt && verdict.offset == record.offset, "\(verdict)")
    var channel = try Fixtures.bytes(session.channels[1])
    channel[64] = 0
    #expect(inspect(channel).report.verdict.offset == 64)
    let (other, lines) = inspect(Array("#!/bin/sh\n".utf8))
    #expect(other.verdict.ending == .corrupt && other.verdict.offset == 0 && lines.isEmpty)
    #expect(other.kind == "unknown file")
    #expect(inspect([]).report.verdict.ending == .truncated)
  }

  @Test("A feature that is refused is not called corrupt")
  func unsupported() {
    var stream = StreamEncoder()
    stream.fileHeader()
    stream.configuration(Configuration(machine: "pc", capabilities: ["mapped-ram"]))
    stream.eof()
    let verdict = inspect(stream.bytes).report.verdict
    #expect(verdict.ending == .unsupported && verdict.offset == 8)
    #expect(verdict.reason?.contains("mapped-ram") == true)
  }

  /// A stream whose only devices are `devices`, with a description that says so, or `sizes`
  /// instead.
  private func stream(devices: [(name: String, body: [UInt8])], sizes: [Int]) -> [UInt8] {
    var stream = StreamEncoder()
    stream.fileHeader()
    for kind in [SectionKind.start, .end] {
      stream.beginSection(kind, id: 1, name: "ram", instance: 0, version: 4)
      if kind == .start { stream.ramBlocks([.init(name: "pc.ram", usedLength: 4096)]) }
      stream.endOfRAMSection()
      stream.footer(id: 1)
    }
    for (index, device) in devices.enumerated() {
      let id = UInt32(2 + index)
      stream.beginSection(.full, id: id, name: device.name, instance: 0, version: 1)
      stream.raw(device.body)
      stream.footer(id: id)
    }
    stream.eof()
    let json = zip(devices, sizes).map { "{\"name\":\"\($0.name)\",\"size\":\($1)}" }
    stream.vmDescription("{\"devices\":[\(json.joined(separator: ","))]}".utf8)
    return stream.take()
  }

  @Test("The VM description settles what footers leave open, or shows that something is wrong")
  func description() {
    // The first body holds its own footer and what could be the next section's header.
    let trap: [UInt8] = [0x7e, 0, 0, 0, 2, 4, 0, 0, 0, 3, 1, 0x62] + .init(repeating: 0, count: 8)
    let devices = [(name: "a", body: trap), (name: "b", body: [1])]
    let right = inspect(stream(devices: devices, sizes: [20, 1]))
    #expect(right.report.verdict.ending == .complete, "\(right.report.verdict)")
    #expect(right.report.main?.devices == 2)
    #expect(right.report.main?.descriptionAgrees == true)
    #expect(right.lines.last?.detail.contains("ambiguous") == true)
    let wrong = inspect(stream(devices: [(name: "a", body: [1, 2])], sizes: [3])).report
    #expect(wrong.verdict.ending == .corrupt)
    #expect(wrong.main?.descriptionAgrees == false)
    #expect(wrong.verdict.reason == "a 0 has 2 bytes, the VM description says 3")
  }

  @Test("A channel that breaks off inside a header tells what came before it")
  func cutHeader() throws {
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    let bytes = try Fixtures.bytes(#require(session.channels.first))
    let packets = inspect(bytes, verbose: true).lines.filter { $0.what.hasPrefix("packet ") }
    for packet in packets.dropFirst().prefix(20) {
      let cut = inspect(Array(bytes.prefix(Int(packet.offset) + 100)))
      #expect(cut.report.verdict.ending == .truncated)
      let told = cut.lines.filter { $0.what.hasSuffix(" packets") || $0.what.hasSuffix(" packet") }
      let count = told.reduce(0) { $0 + (UInt64($1.what.prefix { $0 != " " }) ?? 0) }
      #expect(count == cut.report.channel?.packets)
    }
  }

  @Test("A payload check sees each payload of a channel, and its word is final")
  func payloads() throws {
    let session = try #require(Fixtures.session("bios-111-zlib-2ch"))
    for file in session.channels { try payloads(of: file) }
  }

  private func payloads(of file: URL) throws {
    let choice = try BackendChoice(TestBackends.loader, nil)
    let pages = CountingPages()
    var inspector = Inspector(path: file.path)
    nonisolated(unsafe) let counted = pages
    inspector.decoding = { _ in Inspector.Decoding(choice, into: counted) { Issue.record($0) } }
    let channel = try #require(try inspector.run { _ in }.channel)
    #expect(pages.payload == channel.payloadBytes && pages.payload > 0)
    #expect(pages.packets > 1)
    inspector.decoding = { _ in
      Inspector.Decoding(choice, into: RefusingPages()) { Issue.record($0) }
    }
    let verdict = try inspector.run { _ in }.verdict
    #expect(verdict.ending == .corrupt && verdict.offset > 64)
    #expect(verdict.reason?.hasSuffix(": refused") == true)
  }

  /// Counts what it takes.
  private final class CountingPages: PageDestination {
    private let scratch = ScratchPages(pageSize: 4096)
    var packets = 0
    var payload: UInt64 = 0

    func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)? { (0, .max) }
    func prepare(_ packet: inout Packet) { scratch.prepare(&packet) }

    func process(_ packet: borrowing Packet) {
      #expect(packet.header.flags.method == .zlib && !packet.blockName.isEmpty)
      packets += 1
      payload += UInt64(packet.header.payloadSize)
    }
  }

  /// Takes nothing.
  private struct RefusingPages: PageDestination {
    struct Refusal: Error, CustomStringConvertible {
      var description: String { "refused" }
    }

    func block(named name: UnsafeRawBufferPointer) -> (index: Int, length: UInt64)? { (0, .max) }
    func prepare(_ packet: inout Packet) throws { throw Refusal() }
    func process(_ packet: borrowing Packet) {}
  }

  @Test("A report is an object of JSON with the names of QMP")
  func json() throws {
    let session = try #require(Fixtures.session("bios-100-zstd-2ch"))
    for file in session.sourceFiles {
      let report = try Inspector(path: file.path).run { _ in }
      let data = try JSONEncoder().encode(report)
      #expect(try JSONDecoder().decode(InspectReport.self, from: data) == report)
      let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      #expect((object["verdict"] as? [String: Any])?["ending"] as? String == "complete")
      #expect(object["elements"] is [String: Any])
      let part = object["main"] ?? object["channel"]
      let normal = (part as? [String: Any])?["normal"] as? UInt64
      #expect(normal == report.main?.normal ?? report.channel?.normal)
    }
  }

  @Test("A file that cannot be read is an error, not a verdict")
  func unreadable() {
    let folder = Fixtures.folder.path
    for (path, text) in [
      (folder + "/nothing", "No such file or directory"), (folder, "Is a directory"),
    ] {
      let error = #expect(throws: InspectFileError.self) { try Inspector(path: path).run { _ in } }
      #expect(error.map { "\($0)" } == text)
    }
  }
}
