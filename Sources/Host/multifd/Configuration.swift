import ArgumentParser
import Migration
import TOML

/// The words of a command line and, beneath them, those of the file that it names with `--config`.
///
/// A file becomes words, which go before the command line's own: so what is allowed, and what it
/// means, is said in one place for both. Of an option that the command line has, nothing is taken
/// from the file.
struct Configuration {
  /// What is to be parsed.
  let words: [String]
  /// The role; nil for a command that takes no file.
  let role: (any ParsableCommand.Type)?
  /// All that the role has.
  let options: [CommandOption]
  /// What the command line says itself: its words up to `--`, and those behind it.
  let own: (words: [String], rest: [String]?)
  /// What counts of the file, by key, and where it stands.
  private let taken: [String: (value: TOML.Value, place: String)]

  /// The commands that can be configured by a file.
  private static let roles: [any ParsableCommand.Type] = [
    ReceiveCommand.self, SendCommand.self, RelayCommand.self, ProtectCommand.self,
  ]

  /// What an operator does once is not for a file, which is read again at each start: by `adopt` a
  /// restart would give up the guest that the last run has saved.
  static let onceOnly: Set<String> = ["adopt", "force", "stop", "dry-run"]

  /// - Parameter arguments: of the process, without its name.
  init(_ arguments: [String]) throws(Failure) {
    let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
    var own = Array(arguments[..<end])
    let rest = end == arguments.endIndex ? nil : Array(arguments[(end + 1)...])
    let asksForHelp = own.contains("--help") || own.contains("-h") || own.contains("--version")
    var role = Self.roles.first { $0._commandName == own.first }
    // A file can say whose it is. To other commands the word may mean something else.
    let canHaveFile = !asksForHelp && (role != nil || own.first?.hasPrefix("-") == true)
    let path = canHaveFile ? try Self.path(in: own) : nil
    guard role != nil || path != nil else {
      (words, self.role, options, taken, self.own) = (arguments, nil, [], [:], (own, rest))
      return
    }
    let file = try path.map { path throws(Failure) in try ConfigFile(path) }
    if role != nil { own.removeFirst() }
    role = try Self.role(role, file)
    guard let role else {
      throw Failure(
        .usage, path ?? "", "it does not say whose it is: role = \"receive\"",
        hint: "or name the command: multifd receive --config \(path ?? "")")
    }
    let options = CommandOption.all(of: role)
    var words = [role._commandName]
    var behind = rest
    var taken: [String: (TOML.Value, String)] = [:]
    if let file {
      for entry in file.entries {
        guard let option = options.first(where: { $0.name == entry.key }) else {
          throw file.wrong(entry, "'\(role._commandName)' has no such option")
        }
        let ofFile = try Self.words(for: option, entry, in: file)
        let isGiven = option.kind == .rest ? rest != nil : own.contains(where: option.isGiven)
        guard !isGiven else { continue }
        taken[entry.key] = (entry.value, file.place(entry))
        if option.kind == .rest { behind = ofFile } else { words += ofFile }
      }
    }
    self.words = words + own + (behind.map { ["--"] + $0 } ?? [])
    (self.role, self.options, self.taken, self.own) = (role, options, taken, (own, rest))
  }

  /// Whether only this is to be told.
  var wantsPrint: Bool { role != nil && own.words.contains("--print-config") }

  /// What an option has from the file, and where that stands; nil for one that has it from
  /// elsewhere.
  func entry(of option: CommandOption) -> (value: TOML.Value, place: String)? {
    taken[option.name]
  }

  /// What is wrong with the words, and where those stand that are the file's.
  func placing(_ message: String) -> String {
    let places = options.compactMap { option -> String? in
      guard let place = entry(of: option)?.place else { return nil }
      let behind = message.ranges(of: "--\(option.name)").map { message[$0.upperBound...].first }
      let isMeant = behind.contains { $0.map { !$0.isLetter && $0 != "-" } ?? true }
      return isMeant ? "\(option.name): \(place)" : nil
    }
    return places.isEmpty ? message : "\(message) (\(places.joined(separator: ", ")))"
  }

  private static func path(in words: [String]) throws(Failure) -> String? {
    var paths: [String] = []
    for (word, next) in zip(words, words.dropFirst() + [""]) {
      if word == "--config" {
        guard !next.hasPrefix("-"), !next.isEmpty else {
          throw Failure(.usage, "usage", "Missing value for '--config <file>'")
        }
        paths.append(next)
      }
      if word.hasPrefix("--config=") { paths.append(String(word.dropFirst("--config=".count))) }
    }
    guard paths.count <= 1 else { throw Failure(.usage, "usage", "--config names one file") }
    return paths.first
  }

  /// The role that both want.
  private static func role(
    _ named: (any ParsableCommand.Type)?, _ file: ConfigFile?
  ) throws(Failure) -> (any ParsableCommand.Type)? {
    guard let file, let entry = file.role else { return named }
    // Not by a key path: the compiler of Swift 6.3 does not survive that one.
    let names = roles.map { $0._commandName }
    guard case .string(let text) = entry.value,
      let role = roles.first(where: { $0._commandName == text })
    else {
      throw file.wrong(
        entry, "a role is one of " + names.map { "\"\($0)\"" }.joined(separator: ", "))
    }
    guard named == nil || named?._commandName == text else {
      throw file.wrong(entry, "this file is for 'multifd \(text)'")
    }
    return role
  }

  /// As somebody would write them behind the command.
  private static func words(
    for option: CommandOption, _ entry: TOML.Entry, in file: ConfigFile
  ) throws(Failure) -> [String] {
    guard !onceOnly.contains(option.name) else {
      throw file.wrong(
        entry, "what is done once is not for a file, which is read at each start",
        hint: "say --\(option.name) on the command line")
    }
    switch (option.kind, entry.value) {
    case (.flag, .boolean(let isSet)): return isSet ? ["--\(option.name)"] : []
    case (.choice, .boolean(let isSet)): return [isSet ? "--\(option.name)" : "--no-\(option.name)"]
    case (.flag, _), (.choice, _): throw file.wrong(entry, "it is true or false")
    case (.list, .array(let values)):
      return try values.map { value throws(Failure) in
        "--\(option.name)=" + (try word(value, entry, in: file))
      }
    case (.rest, .array(let values)):
      return try values.map { value throws(Failure) in try word(value, entry, in: file) }
    case (.list, _), (.rest, _): throw file.wrong(entry, "it is a list: [\"…\", \"…\"]")
    case (.value, .array), (.value, .boolean):
      throw file.wrong(entry, "it is one string in quotes, or a number")
    case (.value, let value): return ["--\(option.name)=" + (try word(value, entry, in: file))]
    }
  }

  private static func word(
    _ value: TOML.Value, _ entry: TOML.Entry, in file: ConfigFile
  ) throws(Failure) -> String {
    switch value {
    case .integer(let number): return "\(number)"
    case .float(let number): return "\(number)"
    case .string(let text):
      // As a path it would end there.
      guard !text.unicodeScalars.contains("\0") else {
        throw file.wrong(entry, "there is a NUL in it")
      }
      return text
    case .boolean, .array: throw file.wrong(entry, "a list has strings and numbers")
    }
  }
}
