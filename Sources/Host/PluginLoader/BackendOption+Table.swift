import PluginAPI

extension BackendOption {
  /// The options of a table, each checked against what the header demands.
  static func table(
    of methods: MultiFDMethods, _ entries: [TableCopy.Entry], path: String
  ) throws(PluginError) -> [BackendOption] {
    let count = Int(methods.options_num)
    guard count > 0 else { return [] }
    guard count <= TableCopy.mostOptions else {
      throw .refused(path, "has \(count) options, more than \(TableCopy.mostOptions)")
    }
    guard methods.options != nil else {
      throw .refused(path, "has \(count) options, but no table of them")
    }
    let size = Int(methods.option_size), smallest = TableCopy.smallestOption
    guard (smallest...TableCopy.largestOption).contains(size) else {
      throw .refused(path, "its options have \(size) bytes each, ABI 1.0 has \(smallest)")
    }
    guard entries.count == count else {
      throw .refused(path, "has \(count) options, of which \(entries.count) could be read")
    }
    var options: [BackendOption] = []
    for (index, entry) in entries.enumerated() {
      let option = try BackendOption(entry, number: index, path: path)
      guard !options.contains(where: { $0.name == option.name }) else {
        throw .refused(path, "has two options \(quoted(option.name))")
      }
      options.append(option)
    }
    return options
  }

  /// One entry; the names of its members and their meaning as in the header.
  private init(
    _ entry: TableCopy.Entry, number: Int, path: String
  ) throws(PluginError) {
    func load<T: BitwiseCopyable>(
      _ member: PartialKeyPath<MultiFDOption>, as type: T.Type
    ) -> T {
      entry.bytes.member(member, as: type)
    }
    func text(_ number: Int, limit: Int, mayBeEmpty: Bool = false) -> String? {
      guard number < entry.texts.count else { return nil }
      return foreignText(entry.texts[number], limit: limit, mayBeEmpty: mayBeEmpty)
    }

    guard let name = text(0, limit: 31), isOptionName(name) else {
      throw .refused(path, "the name of option \(number) is not of the form [a-z][a-z0-9-]*")
    }
    let what = "option \(quoted(name))"
    guard let help = text(1, limit: 200) else {
      throw .refused(path, "\(what): its help is not one line of 1 to 200 bytes")
    }
    guard let defaultValue = text(2, limit: 255, mayBeEmpty: true) else {
      throw .refused(path, "\(what): its default is not one line of at most 255 bytes")
    }
    self.name = name
    self.help = help
    self.defaultValue = defaultValue
    let hasChoices = load(\.choices, as: UInt.self) != 0
    kind = try Self.kind(
      load(\.type, as: UInt32.self), choices: hasChoices ? Array(entry.texts.dropFirst(3)) : nil,
      minimum: load(\.minimum, as: Int64.self), maximum: load(\.maximum, as: Int64.self),
      what: what, path: path)
    if case .file = kind, !defaultValue.isEmpty {
      throw .refused(path, "\(what): its own default is a file, which only an operator can name")
    }
    if case .failure(let wrong) = parse(defaultValue) {
      throw .refused(path, "\(what): its own default \(wrong.why)")
    }
  }

  private static func kind(
    _ type: UInt32, choices: [[UInt8]?]?, minimum: Int64, maximum: Int64, what: String,
    path: String
  ) throws(PluginError) -> Kind {
    func refused(_ why: String) -> PluginError { .refused(path, "\(what): \(why)") }
    guard type == MULTIFD_OPTION_ENUM || choices == nil else {
      throw refused("has choices, but is not an enum")
    }
    switch type {
    case MULTIFD_OPTION_BOOL, MULTIFD_OPTION_ENUM:
      guard minimum == 0, maximum == 0 else {
        throw refused("has a range, which its type does not take")
      }
      return type == MULTIFD_OPTION_BOOL ? .bool : .choice(try names(choices, refused))
    case MULTIFD_OPTION_INT, MULTIFD_OPTION_SIZE, MULTIFD_OPTION_STRING:
      let lowest = type == MULTIFD_OPTION_INT ? Int64.min : 0
      guard lowest <= minimum, minimum <= maximum else {
        throw refused("its range \(minimum)…\(maximum) is empty or starts below 0")
      }
      if type == MULTIFD_OPTION_INT { return .int(minimum...maximum) }
      if type == MULTIFD_OPTION_SIZE { return .size(minimum...maximum) }
      return .string(minimum...maximum)
    case MULTIFD_OPTION_FILE:
      guard 0 <= minimum, minimum <= maximum, maximum <= Int64(MULTIFD_MAX_FILE) else {
        throw refused(
          "its range \(minimum)…\(maximum) is empty or beyond 0…\(MULTIFD_MAX_FILE)")
      }
      return .file(minimum...maximum)
    default:
      throw refused("is of type \(type), which this host does not know")
    }
  }

  private static func names(
    _ choices: [[UInt8]?]?, _ refused: (String) -> PluginError
  ) throws(PluginError) -> [String] {
    guard let choices, !choices.isEmpty else { throw refused("is an enum without choices") }
    guard choices.count < TableCopy.mostChoices else { throw refused("has more than 255 choices") }
    var names: [String] = []
    for choice in choices {
      guard let name = foreignText(choice, limit: 63), !name.contains(","), !name.contains(" ")
      else {
        throw refused("choice \(names.count) is not one word of 1 to 63 bytes without commas")
      }
      guard !names.contains(name) else { throw refused("has the choice \(quoted(name)) twice") }
      names.append(name)
    }
    return names
  }
}
