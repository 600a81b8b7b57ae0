import PluginAPI

extension BackendOption {
  /// sizeof(MultiFDOption) of ABI 1.0: no option of this major is smaller.
  static let smallest = 56

  /// The options of a table, each checked against what the header demands.
  static func table(
    of methods: MultiFDMethods, path: String
  ) throws(PluginError) -> [BackendOption] {
    let count = Int(methods.options_num)
    guard count > 0 else { return [] }
    guard count <= MethodsTable.mostOptions else {
      throw .refused(path, "has \(count) options, more than \(MethodsTable.mostOptions)")
    }
    guard let first = methods.options else {
      throw .refused(path, "has \(count) options, but no table of them")
    }
    let stride = Int(methods.option_size)
    guard (smallest...4096).contains(stride) else {
      throw .refused(path, "its options have \(stride) bytes each, ABI 1.0 has \(smallest)")
    }
    var options: [BackendOption] = []
    for index in 0..<count {
      // `count` entries of `stride` bytes are there by the backend's own word; the child has read
      // them.
      let entry = copyStruct(
        UnsafeRawPointer(first) + index * stride, has: stride,
        size: MemoryLayout<MultiFDOption>.size)
      let option = try BackendOption(entry, number: index, path: path)
      guard !options.contains(where: { $0.name == option.name }) else {
        throw .refused(path, "has two options \(quoted(option.name))")
      }
      options.append(option)
    }
    return options
  }

  /// One entry; the name of its members and their meaning as in the header.
  private init(
    _ entry: [UInt8], number: Int, path: String
  ) throws(PluginError) {
    // Loaded member by member: Swift takes the strings for non-null, which is yet to be seen.
    func pointer(_ member: PartialKeyPath<MultiFDOption>) -> UnsafeRawPointer? {
      UnsafeRawPointer(bitPattern: load(member, as: UInt.self))
    }
    func load<T: BitwiseCopyable>(
      _ member: PartialKeyPath<MultiFDOption>, as type: T.Type
    ) -> T {
      // `entry` is as long as this host's struct, whatever the backend's own is.
      let offset = MemoryLayout<MultiFDOption>.offset(of: member)!
      return entry.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
    }

    guard let name = foreignText(pointer(\.name), limit: 31), isOptionName(name) else {
      throw .refused(path, "the name of option \(number) is not of the form [a-z][a-z0-9-]*")
    }
    let what = "option \(quoted(name))"
    guard let help = foreignText(pointer(\.help), limit: 200) else {
      throw .refused(path, "\(what): its help is not one line of 1 to 200 bytes")
    }
    guard
      let defaultValue = foreignText(pointer(\.default_value), limit: 255, mayBeEmpty: true)
    else {
      throw .refused(path, "\(what): its default is not one line of at most 255 bytes")
    }
    self.name = name
    self.help = help
    self.defaultValue = defaultValue
    kind = try Self.kind(
      load(\.type, as: UInt32.self), choices: pointer(\.choices),
      minimum: load(\.minimum, as: Int64.self), maximum: load(\.maximum, as: Int64.self),
      what: what, path: path)
    if case .failure(let wrong) = parse(defaultValue) {
      throw .refused(path, "\(what): its own default \(wrong.why)")
    }
  }

  private static func kind(
    _ type: UInt32, choices: UnsafeRawPointer?, minimum: Int64, maximum: Int64, what: String,
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
    default:
      throw refused("is of type \(type), which this host does not know")
    }
  }

  /// The choices of an enum, closed by NULL.
  private static func names(
    _ choices: UnsafeRawPointer?, _ refused: (String) -> PluginError
  ) throws(PluginError) -> [String] {
    guard let choices else { throw refused("is an enum without choices") }
    var names: [String] = []
    while true {
      // Entries up to the NULL are there by the backend's own word, and the child has read as many.
      let word = choices.loadUnaligned(
        fromByteOffset: names.count * MemoryLayout<UInt>.size, as: UInt.self)
      guard let address = UnsafeRawPointer(bitPattern: word) else { break }
      guard names.count < 255 else { throw refused("has more than 255 choices") }
      guard let name = foreignText(address, limit: 63), !name.contains(","), !name.contains(" ")
      else {
        throw refused("choice \(names.count) is not one word of 1 to 63 bytes without commas")
      }
      guard !names.contains(name) else { throw refused("has the choice \(quoted(name)) twice") }
      names.append(name)
    }
    guard !names.isEmpty else { throw refused("is an enum without choices") }
    return names
  }
}
