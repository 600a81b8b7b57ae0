// What an author has decided about a backend's runs, in a file beside the library: HarnessConfig is
// what it says, TOML how it is written.

import TOML

/// `harness.toml`.
public struct HarnessConfig: Sendable, Equatable {
  /// How much is done.
  public var level: Level?
  /// Whether what could have run has to.
  public var isStrict: Bool?
  /// How many seeds are tried.
  public var seeds: Int?
  /// The options that the backend is given, in the file's order.
  public var assignments: [Assignment] = []
  /// Tests that are not run, by name, and why.
  public var off: [String: String] = [:]

  /// One option.
  public struct Assignment: Sendable, Equatable {
    /// Its name.
    public let key: String
    /// As an operator would write it.
    public let value: String
  }

  /// The file's name, in the library's folder.
  public static let name = "harness.toml"

  /// Where it is for the library at `path`, if there is one.
  public static func path(beside path: String) -> String? {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    return readFile(folder + name) == nil ? nil : folder + name
  }

  /// Reads it. What is wrong is wrong usage, and named with its line.
  public init(_ path: String) throws(HarnessFault) {
    guard let bytes = readFile(path) else {
      throw HarnessFault("--config \(path): there is no such file", usage: true)
    }
    do throws(TOML.Wrong) {
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw TOML.Wrong(line: 1, why: "the file is not UTF-8")
      }
      try self.init(TOML(text))
    } catch {
      throw HarnessFault("\(path), line \(error.line): \(error.why)", usage: true)
    }
  }

  package init(_ toml: TOML) throws(TOML.Wrong) {
    for (name, line) in toml.tables where !["options", "off"].contains(name) {
      throw TOML.Wrong(line: line, why: "there is no table [\(name)]: options, off")
    }
    for entry in toml.entries {
      switch (entry.table, entry.key, entry.value) {
      case ("", "level", .integer(let number)):
        guard let known = Level(number) else { throw entry.wrong("level is 1 to 10") }
        level = known
      case ("", "strict", .boolean(let value)): isStrict = value
      case ("", "seeds", .integer(let number)):
        guard number > 0 else { throw entry.wrong("seeds is a positive number") }
        seeds = number
      case ("", "level", _), ("", "seeds", _): throw entry.wrong("\(entry.key) is an integer")
      case ("", "strict", _): throw entry.wrong("strict is true or false")
      case ("options", let key, .array), ("options", let key, .float):
        throw entry.wrong("'\(key)' is a string in quotes, an integer, or true or false")
      case ("options", let key, let value):
        assignments.append(Assignment(key: key, value: value.written))
      case ("off", let test, .string(let reason)): try turnOff(test, reason, entry)
      case ("off", let test, _):
        throw entry.wrong("'\(test)' is off for a reason: \"\(test)\" = \"why\"")
      default: throw entry.wrong("there is no '\(entry.key)': level, strict, seeds")
      }
    }
  }

  private mutating func turnOff(
    _ test: String, _ reason: String, _ entry: TOML.Entry
  ) throws(TOML.Wrong) {
    let tests = Catalogue.all.filter { $0.id == test || $0.group.rawValue == test }
    guard !tests.isEmpty else { throw entry.wrong("there is no test or group '\(test)'") }
    guard reason.contains(where: { !$0.isWhitespace }) else {
      throw entry.wrong("'\(test)' is off without a reason")
    }
    for test in tests { off[test.id] = clean(reason) }
  }
}

extension HarnessSettings {
  /// Takes what the file says. Called before the command line's own words, which come on top.
  public mutating func take(_ config: HarnessConfig) {
    if let level = config.level { self.level = level }
    if let isStrict = config.isStrict { self.isStrict = isStrict }
    if let seeds = config.seeds { seedsWanted = seeds }
    assignments = config.assignments.map { (key: $0.key, value: $0.value) }
    off = config.off
  }
}

extension TOML.Entry {
  fileprivate func wrong(_ why: String) -> TOML.Wrong { TOML.Wrong(line: line, why: why) }
}

extension TOML.Value {
  /// As the host's options are written.
  fileprivate var written: String {
    switch self {
    case .string(let text): text
    case .integer(let number): String(number)
    case .boolean(let value): value ? "on" : "off"
    // Refused before.
    case .float, .array: toml
    }
  }
}
