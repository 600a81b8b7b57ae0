import Foundation
import PluginLoader
import Testing

/// What the table of a backend must be: each rule broken once, by a backend that breaks only that
/// one.
@Suite("Loading", .compiler)
struct LoadTests {
  @Test("a good backend is what it says")
  func good() throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path)
    let backend = try loader(folder.path).load(named: "sample")
    #expect(backend.name == "sample")
    #expect(backend.version == "1.2.3")
    #expect(backend.wireFormat == "sample/1")
    #expect(backend.profile.description == "Pages as they are")
    #expect(backend.qemuMethod == nil)
    #expect(backend.capabilities == [.independent, .deterministic, .zeroCopy])
    #expect(
      backend.options.map(\.name) == ["act", "level", "window", "checksum", "colour", "label"])
    #expect(backend.path == file)
    #expect(backend.profile.abiVersion.description == "1.1")
    #expect(backend.payloadBound(pageSize: 4096, pageCount: 128) == 128 * 4096)
    #expect(backend.payloadBound(pageSize: 4096, pageCount: 0) == 0)
    #expect(backend.payloadBound(pageSize: 1 << 30, pageCount: 128) == nil)
    #expect(backend.payloadBound(pageSize: -1, pageCount: 1) == nil)
  }

  @Test("a backend is opened once, whoever asks and whatever becomes of its file")
  func once() async throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path)
    let loader = loader(folder.path)
    let all = try await withThrowingTaskGroup(of: Backend.self) { group in
      for _ in 0..<4 { group.addTask { try loader.load(named: "sample") } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(all.allSatisfy { $0 === all[0] })
    try FileManager.default.removeItem(atPath: file)
    try Compiler.plugin(in: folder.path, ["VERSION": "\"9\""])
    #expect(try loader.load(named: "sample") === all[0])
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let macros: [String: String]
    let says: String

    init(_ description: String, _ macros: [String: String], says: String) {
      testDescription = description
      self.macros = macros
      self.says = says
    }
  }

  static let refusals: [Case] = [
    Case("wrong magic", ["MAGIC": "0x12345678u"], says: "starts with 0x12345678, not 0x4d464450"),
    Case("earlier major", ["MAJOR": "0", "MINOR": "9"], says: "ABI 0.9, this host speaks 1.1"),
    Case("future major", ["MAJOR": "2", "MINOR": "3"], says: "ABI 2.3, this host speaks 1.1"),
    Case("smaller than 1.0", ["SIZE": "120"], says: "table has 120 bytes, ABI 1.0 has 128"),
    Case("no table", ["ENTRY": "return NULL"], says: "no table for a host of ABI 1"),
    Case("no entry", ["NO_ENTRY": "1"], says: "exports no multifd_plugin_entry()"),
    Case("unknown capability", ["CAPS": "(2u|0x800u)"], says: "capability 0x00000800"),
    Case("neither stateful nor independent", ["CAPS": "4u"], says: "exactly one of STATEFUL"),
    Case("stateful and independent", ["CAPS": "3u"], says: "exactly one of STATEFUL"),
    Case("no send_setup", ["SEND_SETUP": "NULL"], says: "no send_setup()"),
    Case("no send_cleanup", ["SEND_CLEANUP": "NULL"], says: "no send_cleanup()"),
    Case("no send_prepare", ["SEND_PREPARE": "NULL"], says: "no send_prepare()"),
    Case("no recv_setup", ["RECV_SETUP": "NULL"], says: "no recv_setup()"),
    Case("no recv_cleanup", ["RECV_CLEANUP": "NULL"], says: "no recv_cleanup()"),
    Case("no recv", ["RECV": "NULL"], says: "no recv()"),
    Case("no payload_bound", ["PAYLOAD_BOUND": "NULL"], says: "no payload_bound()"),
    Case("no name", ["NAME": "NULL"], says: "its name is not"),
    Case("another name", ["NAME": "\"other\""], says: "calls itself 'other', but its file"),
    Case("name with a capital", ["NAME": "\"Sample\""], says: "not of the form [a-z0-9]"),
    Case(
      "name with 32 letters", ["NAME": "\"" + String(repeating: "a", count: 32) + "\""],
      says: "its name is not one line"),
    Case("no version", ["VERSION": "\"\""], says: "its version is not"),
    Case("version with a newline", ["VERSION": "\"1\\n2\""], says: "its version is not one line"),
    Case("no description", ["DESCRIPTION": "NULL"], says: "its description is not"),
    Case("description drives a terminal", ["DESCRIPTION": "\"\\033[2J\""], says: "its description"),
    Case("description is not UTF-8", ["DESCRIPTION": "\"\\xff\\xfe\""], says: "its description"),
    Case("wire format without a number", ["FORMAT": "\"sample\""], says: "form NAME/N"),
    Case("wire format with a leading zero", ["FORMAT": "\"sample/01\""], says: "form NAME/N"),
    Case("wire format with two slashes", ["FORMAT": "\"a/b/1\""], says: "form NAME/N"),
    Case("a method that QEMU has not", ["QEMU": "0x40u"], says: "0x00000040 is none of QEMU's"),
    Case("two methods", ["QEMU": "0x6u"], says: "0x00000006 is none of QEMU's"),
    Case(
      "QEMU's method forgotten", ["QEMU": "0u"],
      says: "qemu_method is none, but its wire format 'sample/1' is not that method's"),
    Case(
      "another method than its format's", ["QEMU": "4u", "FORMAT": "\"zlib/1\""],
      says: "qemu_method is zstd, but its wire format 'zlib/1' is QEMU's"),
    Case(
      "QEMU's format without its method", ["FORMAT": "\"zlib/1\""],
      says: "qemu_method is unknown, but its wire format 'zlib/1' is QEMU's"),
    Case("packets in flight, and no calls", ["IN_FLIGHT": "4"], says: "nothing submits a packet"),
    Case("too many packets in flight", ["IN_FLIGHT": "65"], says: "max_in_flight is 65, the most"),
    Case(
      "submits and does not complete",
      ["IN_FLIGHT": "4", "SUBMITS": ".send_submit = send_submit,"],
      says: "one of send_submit() and send_complete()"),
    Case(
      "submits, and has none in flight",
      ["SUBMITS": ".send_submit = send_submit, .send_complete = send_submit,"],
      says: "has send_submit(), but max_in_flight is 0"),
    Case("neither direction", ["CAPS": "(2u|0x40u|0x80u)"], says: "that leaves nothing"),
    Case("independent twice", ["CAPS": "(2u|0x100u)"], says: "for senders that are STATEFUL"),
    Case(
      "a direction that it has not", ["CAPS": "(2u|0x40u)"],
      says: "has recv_setup(), but says that it has not (independent,send-only)"),
    Case(
      "bound for nothing", ["BOUND": "4096*(uint64_t)page_count + 64"],
      says: "payload_bound(4096, 0) is 64"),
    Case(
      "bound below the pages", ["BOUND": "100ull*page_count"],
      says: "payload_bound(4096, 1) is 100, less than"),
    Case(
      "bound beyond a packet", ["BOUND": "page_count ? 1ull<<32 : 0"],
      says: "more than a packet can carry"),
    Case(
      "bound falls", ["BOUND": "page_count == 1 ? 1u<<30 : (uint64_t)page_count*page_size"],
      says: "says more for 1 page"),
    Case(
      "QEMU format beyond 1 MiB",
      ["QEMU": "2u", "FORMAT": "\"zlib/1\"", "BOUND": "8193ull*page_count"],
      says: "receives at most 1048576"),
    Case("options without a table", ["OPTIONS": "NULL"], says: "6 options, but no table"),
    Case("options too short", ["OPTION_SIZE": "48"], says: "48 bytes each, ABI 1.0 has 56"),
    Case("options too long", ["OPTION_SIZE": "1u<<30"], says: "1073741824 bytes each"),
  ]

  @Test("is refused, saying why", arguments: refusals)
  func refused(_ bad: Case) throws {
    let folder = try TestFolder()
    let file = try Compiler.plugin(in: folder.path, bad.macros)
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .refused)
    #expect(error.what == file)
    #expect(error.why.contains(bad.says), "\(error.why)")
    #expect(!error.report.split(separator: "\n")[0].contains("hint"))
  }

  /// An extra option, as the members of MultiFDOption.
  static func option(
    _ name: String, _ type: String, value: String = "\"1\"", choices: String = "NULL",
    range: String = "0, 0", help: String = "\"Help\""
  ) -> [String: String] {
    ["EXTRA_OPTION": "{\(name), \(help), \(value), \(choices), \(range), \(type), 0}"]
  }

  static let badOptions: [Case] = [
    Case("no name", option("NULL", "2", range: "0, 9"), says: "name of option 6"),
    Case("name with a capital", option("\"Big\"", "2", range: "0, 9"), says: "name of option 6"),
    Case("name with a digit first", option("\"9a\"", "2", range: "0, 9"), says: "name of option 6"),
    Case("name twice", option("\"level\"", "2", range: "0, 9"), says: "two options 'level'"),
    Case("no help", option("\"x\"", "2", range: "0, 9", help: "NULL"), says: "'x': its help"),
    Case(
      "no default", option("\"x\"", "2", value: "NULL", range: "0, 9"), says: "'x': its default"),
    Case("type 0", option("\"x\"", "0"), says: "'x': is of type 0"),
    Case("type of a later host", option("\"x\"", "7"), says: "'x': is of type 7"),
    Case("empty range", option("\"x\"", "2", range: "5, 4"), says: "range 5…4 is empty"),
    Case("negative size", option("\"x\"", "3", range: "-1, 4"), says: "starts below 0"),
    Case("negative length", option("\"x\"", "5", range: "-1, 4"), says: "starts below 0"),
    Case(
      "bool with a range", option("\"x\"", "1", value: "\"on\"", range: "0, 1"),
      says: "range, which its type"),
    Case(
      "choices of an int", option("\"x\"", "2", choices: "colours", range: "0, 9"),
      says: "choices, but is not an enum"),
    Case("enum without choices", option("\"x\"", "4"), says: "enum without choices"),
    Case(
      "enum with none", option("\"x\"", "4", choices: "(const char *const[]){NULL}"),
      says: "enum without choices"),
    Case(
      "choice twice", option("\"x\"", "4", choices: "(const char *const[]){\"a\",\"a\",NULL}"),
      says: "choice 'a' twice"),
    Case(
      "choice with a comma", option("\"x\"", "4", choices: "(const char *const[]){\"a,b\",NULL}"),
      says: "choice 0 is not one word"),
    Case(
      "int default out of range", option("\"x\"", "2", value: "\"10\"", range: "0, 9"),
      says: "'x': its own default must be 0…9, not '10'"),
    Case(
      "int default no number", option("\"x\"", "2", value: "\"ten\"", range: "0, 9"),
      says: "its own default must be an integer"),
    Case(
      "bool default", option("\"x\"", "1", value: "\"maybe\""), says: "default must be on or off"),
    Case(
      "enum default", option("\"x\"", "4", value: "\"pink\"", choices: "colours"),
      says: "default must be one of red, green, blue"),
    Case(
      "size default", option("\"x\"", "3", value: "\"1T\"", range: "0, 9"),
      says: "default must be a size"),
    Case(
      "string default too short", option("\"x\"", "5", value: "\"\"", range: "1, 4"),
      says: "default must have 1…4 bytes, not 0"),
  ]

  @Test("is refused for a bad option, saying why", arguments: badOptions)
  func badOption(_ bad: Case) throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, bad.macros)
    let error = try #require(loadError(loader(folder.path)))
    #expect(error.kind == .refused)
    #expect(error.why.contains(bad.says), "\(error.why)")
  }

  static let fine: [Case] = [
    Case(
      "a later minor with a longer table and options",
      ["MINOR": "7", "LONG_TABLE": "4", "LONG_OPTIONS": "3"], says: "1.7"),
    Case(
      "QEMU's zlib",
      ["QEMU": "2u", "FORMAT": "\"zlib/1\"", "CAPS": "1u", "BOUND": "8192ull*page_count"],
      says: "1.1"),
    Case(
      "huge pages only", ["BOUND": "page_size < 65536 ? 0 : (uint64_t)page_size*page_count"],
      says: "1.1"),
    Case("an empty default", option("\"x\"", "5", value: "\"\"", range: "0, 4"), says: "1.1"),
    Case("the widest int", option("\"x\"", "2", range: "INT64_MIN, INT64_MAX"), says: "1.1"),
  ]

  @Test("is accepted", arguments: fine)
  func accepted(_ good: Case) throws {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path, good.macros)
    let backend = try loader(folder.path).load(named: "sample")
    #expect(backend.profile.abiVersion.description == good.says)
    #expect(backend.options.count >= 6)
  }

  @Test("a smaller table counts as zero beyond its end, a longer one is cut")
  func sizes() {
    // As if this host were of a later minor with 32 bytes more than the table, and the other way
    // round.
    var table = (0..<128).map { UInt8($0) }
    table.replaceSubrange(8..<12, with: [128, 0, 0, 0])
    table.withUnsafeBytes { bytes in
      // Alive in this closure, and as long as its size says.
      let later = copyTable(bytes.baseAddress!, size: 160)
      #expect(later == Array(bytes) + Array(repeating: 0, count: 32))
      #expect(copyTable(bytes.baseAddress!, size: 96) == Array(bytes.prefix(96)))
    }
  }
}
