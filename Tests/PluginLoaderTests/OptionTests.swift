import PluginLoader
import Testing

/// Options: what an operator may write, and what arrives.
@Suite("Options", .compiler)
struct OptionTests {
  static func sample() throws -> Backend {
    let folder = try TestFolder()
    try Compiler.plugin(in: folder.path)
    return try loader(folder.path).load(named: "sample")
  }

  let backend: Backend

  init() throws { backend = try Self.sample() }

  @Test("defaults")
  func defaults() throws {
    let values = try backend.parse([])
    #expect(values.all.map(\.name) == backend.options.map(\.name))
    #expect(values.all.map(\.value) == ["plain", "3", "64K", "off", "green", "abc"])
    #expect(values["level"] == "3")
    #expect(values["none"] == nil)
    #expect(values.assigned.isEmpty)
    #expect(values.spec == "sample")
  }

  @Test(
    "is accepted",
    arguments: [
      ("level", "3"), ("level", "-7"), ("level", "22"), ("level", "0"), ("level", "007"),
      ("window", "4096"), ("window", "4K"), ("window", "1M"), ("window", "1048576"),
      ("window", "64k"),
      ("checksum", "on"), ("checksum", "off"), ("checksum", "yes"), ("checksum", "no"),
      ("checksum", "true"), ("checksum", "false"),
      ("colour", "red"), ("colour", "green"), ("colour", "blue"),
      ("label", "ab"), ("label", "abcde"), ("label", "a=b"), ("label", "éé"),
    ])
  func accepted(_ key: String, _ value: String) throws {
    let values = try backend.parse([(key, value)])
    #expect(values[key] == value)
    #expect(values.spec == "sample,\(key)=\(value)")
  }

  @Test(
    "is refused, naming the option and what is allowed",
    arguments: [
      ("level", "-8", "must be -7…22, not '-8'"), ("level", "23", "must be -7…22, not '23'"),
      ("level", "", "must be an integer -7…22, not ''"), ("level", "high", "must be an integer"),
      ("level", "+3", "must be an integer"), ("level", " 3", "must be an integer"),
      ("level", "3K", "must be an integer"), ("level", "1e1", "must be an integer"),
      ("level", "99999999999999999999", "must be an integer"),
      ("window", "4095", "must be 4K…1M, not '4095'"), ("window", "1048577", "must be 4K…1M"),
      ("window", "1025K", "must be 4K…1M"), ("window", "-4096", "must be a size"),
      ("window", "9223372036854775807G", "must be a size 4K…1M"), ("window", "K", "must be a size"),
      ("window", "1T", "must be a size"), ("window", "1.5M", "must be a size"),
      ("checksum", "1", "must be on or off, not '1'"), ("checksum", "On", "must be on or off"),
      ("checksum", "", "must be on or off"),
      ("colour", "pink", "must be one of red, green, blue, not 'pink'"),
      ("colour", "0", "must be one of"), ("colour", "", "must be one of"),
      ("label", "a", "must have 2…5 bytes, not 1"),
      ("label", "abcdef", "must have 2…5 bytes, not 6"),
      ("label", "ééé", "must have 2…5 bytes, not 6"), ("label", "a\u{1b}c", "control characters"),
      ("label", "a,b", "without commas"),
    ])
  func refused(_ key: String, _ value: String, _ says: String) throws {
    let error = try #require(throws: PluginError.self) { try backend.parse([(key, value)]) }
    #expect(error.kind == .options)
    #expect(error.what == "sample, option \(key)")
    #expect(error.why.contains(says), "\(error.why)")
  }

  @Test("names near and far")
  func names() throws {
    let near = try #require(throws: PluginError.self) { try backend.parse([("levle", "3")]) }
    #expect(near.description == "sample, option 'levle': there is no such option")
    #expect(near.hint == "did you mean level?")
    let far = try #require(throws: PluginError.self) { try backend.parse([("dictionary", "3")]) }
    #expect(far.hint == "sample has act, level, window, checksum, colour, label")
    let choice = try #require(throws: PluginError.self) { try backend.parse([("colour", "geen")]) }
    #expect(choice.hint == "did you mean colour=green?")
    let twice = try #require(throws: PluginError.self) {
      try backend.parse([("level", "1"), ("colour", "red"), ("level", "1")])
    }
    #expect(twice.description == "sample, option level: is set twice")
  }

  @Test("a specification is taken apart")
  func spec() throws {
    let spec = try CompressionSpec(parsing: "sample,level=5,label=a=b")
    #expect(spec.name == "sample")
    #expect(spec.assignments.map(\.key) == ["level", "label"])
    #expect(spec.assignments.map(\.value) == ["5", "a=b"])
    let values = try backend.parse(spec)
    #expect(values.spec == "sample,level=5,label=a=b")
    #expect(try CompressionSpec(parsing: "zstd").assignments.isEmpty)
  }

  @Test(
    "a bad specification is refused",
    arguments: [
      "", ",level=3", "Zstd", "zstd,", "zstd,level", "zstd,=3", "zstd,,level=3", "../x", "a b",
    ])
  func badSpec(_ text: String) throws {
    let error = try #require(throws: PluginError.self) { try CompressionSpec(parsing: text) }
    #expect(error.kind == .options)
    #expect(error.hint != nil)
  }

  @Test("help and facts")
  func help() {
    let help = backend.profile.optionsHelp(width: 80)
    for option in backend.options {
      // The many choices of `act` stand in its help.
      let range = option.name == "act" ? "29 choices" : option.kind.range
      #expect(help.contains("\(option.name)=\(range)"))
      #expect(help.contains(option.help))
    }
    #expect(help.contains("What it does: plain, over-read,"))
    #expect(help.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(help)")
    #expect(help.contains("--compression sample,act=plain"))
    #expect(backend.profile.optionsTable(width: 80).hasPrefix("OPTION"))
    let facts = Dictionary(uniqueKeysWithValues: backend.profile.facts.map { ($0.key, $0.value) })
    #expect(facts["wire_format"] == "sample/1")
    #expect(facts["qemu_method"] == "unknown")
    #expect(facts["payload_bound"] == "524288")
    #expect(facts["option.level.minimum"] == "-7")
    #expect(facts["option.window.maximum"] == "1048576")
    #expect(facts["option.colour.choices"] == "red,green,blue")
  }

  @Test(
    "versions are compared number by number",
    arguments: [
      ("1.2.3", true), ("1.2", true), ("1.2.3.0", true), ("1.10", false), ("1.2.4", false),
      ("2", false),
      ("0.9.9", true), ("1.2.3-rc1", true), ("x", nil), ("", nil), ("99999999999999999999", nil),
    ] as [(String, Bool?)])
  func versions(_ version: String, _ enough: Bool?) {
    #expect(backend.profile.isAtLeast(version) == enough)
  }
}
