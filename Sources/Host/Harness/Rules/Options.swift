import CLinux
import Glibc
import PluginAPI
import PluginLoader

/// `abi/option-table`: what the header demands of each option.
enum OptionTable {
  /// sizeof(MultiFDOption) of each minor version that this harness knows.
  private static let sizes: [UInt16: Int] = [0: OptionEntry.smallest, 1: OptionEntry.smallest]

  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    let methods = library.methods
    guard methods.options_num > 0 else { return }
    context.check(methods.options != nil, "\(methods.options_num) options, but no table of them")
    context.check(methods.options_num <= 256, "\(methods.options_num) options: more than 256")
    let wanted = sizes[methods.abi_minor], size = Int(methods.option_size)
    context.check(
      size == wanted ?? size && size >= OptionEntry.smallest,
      "option_size is \(size), an option of ABI \(methods.abi_major).\(methods.abi_minor) has "
        + (wanted.map { "\($0)" } ?? "at least \(OptionEntry.smallest)"))
    var names = Set<String>()
    for (index, option) in library.options.enumerated() {
      let what = "option \(index) (\(clean(option.name ?? "?")))"
      context.check(
        option.name?.wholeMatch(of: /[a-z][a-z0-9-]{0,30}/) != nil,
        "\(what): the name is not [a-z][a-z0-9-]*")
      context.check(names.insert(option.name ?? "").inserted, "\(what): there are two of that name")
      check(option, what, context)
    }
  }

  private static func check(_ option: OptionEntry, _ what: String, _ context: Context) {
    let help = option.help ?? ""
    context.check((1...200).contains(help.utf8.count), "\(what): help is not 1 to 200 bytes")
    context.check(
      !help.hasSuffix(".") && !help.contains("\n"),
      "\(what): help is not one line without full stop")
    let isFile = option.type == MULTIFD_OPTION_FILE
    let isRanged =
      isFile
      || [MULTIFD_OPTION_INT, MULTIFD_OPTION_SIZE, MULTIFD_OPTION_STRING].contains(option.type)
    let isEnum = option.type == MULTIFD_OPTION_ENUM
    context.check(
      isRanged || isEnum || option.type == MULTIFD_OPTION_BOOL,
      "\(what): there is no type \(option.type)")
    if isRanged {
      context.check(option.minimum <= option.maximum, "\(what): the range is empty")
      context.check(
        option.type == MULTIFD_OPTION_INT || option.minimum >= 0, "\(what): starts below 0")
      context.check(
        !isFile || option.maximum <= Int64(MULTIFD_MAX_FILE),
        "\(what): no file has \(option.maximum) bytes, the largest has \(MULTIFD_MAX_FILE)")
    } else {
      context.check(
        option.minimum == 0 && option.maximum == 0, "\(what): has a range, its type takes none")
    }
    let choices = option.choices ?? []
    context.check(
      isEnum == (option.choices != nil), "\(what): choices are for enums, and enums need them")
    if isEnum {
      context.check((1...255).contains(choices.count), "\(what): has \(choices.count) choices")
      context.check(Set(choices).count == choices.count, "\(what): has a choice twice")
      context.check(
        choices.allSatisfy { $0.wholeMatch(of: /[^\s,]{1,63}/) != nil },
        "\(what): a choice is not one word of 1 to 63 bytes")
    }
    let value = option.defaultValue ?? ""
    if isFile {
      // A path would be one of whoever built the library.
      context.check(
        option.defaultValue == "", "\(what): its default is not \"\", which is no file")
      return
    }
    context.check(
      option.defaultValue != nil && option.number(value) != nil,
      "\(what): its default '\(clean(value))' is not valid")
  }
}

/// `options`: every option, at both ends and beyond.
enum Options {
  static let bodies: [String: Rules.Body] = [
    "options/defaults": defaults, "options/ends": ends, "options/combinations": combinations,
    "options/apart": apart, "options/refused": refused,
    "options/trained": OptionTraining.check, "options/other-file": OtherFile.check,
  ]

  @Sendable private static func defaults(_ context: Context) throws(Stop) {
    let shape = Shape(try context.library, pages: 16)
    let send = try SendDriver(context, shape)
    context.check(send.setup.isOK, "send_setup() returns \(send.setup) with the defaults")
    let receive = try ReceiveDriver(context, shape)
    context.check(receive.setup.isOK, "recv_setup() returns \(receive.setup) with the defaults")
  }

  /// A channel with these options, and with others at its receiver if those are given. False when
  /// they are refused in order.
  static func works(
    _ context: Context, _ options: [String: String], received: [String: String]? = nil,
    mayRefuse: Bool, shape: Shape? = nil, counts: [Int] = [8, 1, 5], rule: String? = nil
  ) throws(Stop) -> Bool {
    let library = try context.library
    let shape = shape ?? Shape(library, pages: 8)
    var text = Self.text(options)
    if let received { text += " sent, \(Self.text(received)) received" }
    let sides = try setUp(context, shape, options, received: received)
    for (callback, status) in [("send_setup", sides.0.setup), ("recv_setup", sides.1.setup)] {
      if case .failed(MULTIFD_ERROR_OPTION, _) = status, mayRefuse { return false }
      try context.require(
        status.isOK, as: rule, "\(callback)() returns \(status) with \(text)")
    }
    let lane = try Lane(context, shape, label: text, sides: sides, content: Lane.mix)
    lane.honestyRule = rule
    let before = context.reporter.count(rule)
    do throws(Stop) {
      for count in counts { try lane.pass(Array(lane.source.offsets.prefix(count))) }
    } catch {
      // Unless it broke another rule.
      if context.reporter.count(rule) > before { context.fail("so it is with \(text)", as: rule) }
      throw error
    }
    return true
  }

  private static func setUp(
    _ context: Context, _ shape: Shape, _ options: [String: String],
    received: [String: String]? = nil
  ) throws(Stop) -> (SendDriver, ReceiveDriver) {
    func make() throws(Stop) -> (SendDriver, ReceiveDriver) {
      (
        try SendDriver(context, shape, options: options),
        try ReceiveDriver(context, shape, options: received ?? options)
      )
    }
    return try received == nil ? Pace.measure(options, make) : make()
  }

  /// Whether it takes long to set up a channel with these options. In a hurry, only the tests that
  /// are about options try such.
  static func isSlow(_ options: [String: String], _ context: Context) throws(Stop) -> Bool {
    if let known = Pace.isSlow(options) { return known }
    let sides = try setUp(context, Shape(try context.library, pages: 8), options)
    sides.0.close()
    sides.1.close()
    return Pace.isSlow(options) ?? false
  }

  /// Whether a channel works that has these options at both sides. If not, it has been reported
  /// under `options/ends`, unless they may be refused.
  static func holds(_ options: [String: String], _ context: Context) throws(Stop) -> Bool {
    do throws(Stop) {
      return try works(
        context, options, mayRefuse: mayBeRefused(options), rule: "options/ends")
    } catch {
      return false
    }
  }

  private static func text(_ options: [String: String]) -> String {
    options.isEmpty
      ? "the defaults"
      : options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
  }

  /// The extremes that a test tries which is not `options/ends`: in a quick run not those that are
  /// slow to set up.
  static func affordable(_ context: Context) throws(Stop) -> [[String: String]] {
    var some: [[String: String]] = []
    for options in try extremes(context) {
      if context.order.isQuick, try isSlow(options, context) { continue }
      some.append(options)
    }
    return some
  }

  /// One option at each end of its range, the others as they are in this run.
  static func extremes(_ context: Context) throws(Stop) -> [[String: String]] {
    var all: [[String: String]] = []
    for option in try context.library.options {
      guard let name = option.name else { continue }
      all += try values(of: option, context).map {
        context.order.options.merging([name: $0]) { $1 }
      }
    }
    return all
  }

  @Sendable private static func ends(_ context: Context) throws(Stop) {
    let library = try context.library
    guard !library.options.isEmpty else { throw .skipped("no options") }
    var shapes: [(Shape, [Int])] = [(Shape(library), [8, 1, 128])]
    let large = Shape(pageSize: 65536, pageCount: 2)
    if library.supports(large.pageSize, large.pageCount) { shapes.append((large, [2])) }
    for (shape, counts) in shapes {
      // What fails with the defaults is none of the options'.
      let lane = try Lane(context, shape, content: Lane.mix)
      lane.honestyRule = "roundtrip/page-sizes"
      for count in counts { try lane.pass(Array(lane.source.offsets.prefix(count))) }
    }
    var all = try extremes(context)
    for option in library.options where option.type == MULTIFD_OPTION_FILE {
      guard let name = option.name else { continue }
      all += random(option).map { context.order.options.merging([name: $0]) { $1 } }
    }
    let patience = Patience(context, milliseconds: 40)
    for options in all {
      for (index, (shape, counts)) in shapes.enumerated() {
        if index > 0, patience.isOver || context.order.isQuick && Pace.isSlow(options) == true {
          continue
        }
        let counts = patience.isOver ? counts.filter { $0 <= 8 } : counts
        _ = try works(
          context, options, mayRefuse: mayBeRefused(options), shape: shape, counts: counts)
      }
    }
  }

  /// Sender and receiver are told by two operators, and one of them says nothing: each end of each
  /// option at one side, the defaults at the other. But for a sender's file: the host sees to it
  /// that the receiver has it, too.
  @Sendable private static func apart(_ context: Context) throws(Stop) {
    let library = try context.library
    guard !library.options.isEmpty else { throw .skipped("no options") }
    for options in try affordable(context) where try holds(options, context) {
      for (sent, received) in [(options, library.files(in: options)), ([:], options)] {
        _ = try works(context, sent, received: received, mayRefuse: false, counts: [8, 3])
      }
    }
  }

  @Sendable private static func combinations(_ context: Context) throws(Stop) {
    let library = try context.library
    guard !library.options.isEmpty else { throw .skipped("no options") }
    var random = context.random()
    var tried = 0, accepted = 0
    // A slow codec has had enough with fewer.
    let patience = Patience(context, milliseconds: 50, full: 600)
    for round in 0..<context.rounds(60, quick: 12) where round < 2 || !patience.isOver {
      var options: [String: String] = [:]
      for option in library.options where Bool.random(using: &random) {
        guard let name = option.name else { continue }
        options[name] =
          round % 3 == 0
          ? try values(of: option, context).randomElement(using: &random)
          : try anyValue(of: option, context, &random)
      }
      if context.order.isQuick, options.contains(where: { Pace.isSlow([$0.key: $0.value]) == true })
      {
        continue
      }
      tried += 1
      if try works(context, options, mayRefuse: true) { accepted += 1 }
    }
    context.check(accepted > 0 || tried == 0, "refuses every combination of options")
  }

  /// The host's own check, with this backend's table: a backend gets checked values only.
  @Sendable private static func refused(_ context: Context) throws(Stop) {
    let library = try context.library
    guard let backend = try? library.asTheHostHasIt() else {
      throw .missed("the host does not open it, see abi/host-accepts")
    }
    func refuse(_ pairs: [(String, String)]) {
      let text = pairs.map { "\($0)=\($1)" }.joined(separator: ",")
      if (try? backend.parse(pairs.map { (key: $0.0, value: $0.1) })) != nil {
        context.fail("the host lets \(text) pass")
      }
    }
    func refuse(_ name: String, fileOf size: Int64) {
      let file = clinux_memfd_create("option")
      defer { close(file) }
      if ftruncate(file, off_t(size)) == 0 { refuse([(name, "/proc/self/fd/\(file)")]) }
    }
    refuse([("no-such-option-here", "1")])
    for option in library.options {
      guard let name = option.name, let value = option.defaultValue else { continue }
      refuse([(name, value), (name, value)])
      switch option.type {
      case MULTIFD_OPTION_INT, MULTIFD_OPTION_SIZE:
        if option.minimum > .min { refuse([(name, String(option.minimum - 1))]) }
        if option.maximum < .max { refuse([(name, String(option.maximum + 1))]) }
        for text in ["", "x", "1x", "0x10", "1.5", " 1", "99999999999999999999"] {
          refuse([(name, text)])
        }
      case MULTIFD_OPTION_BOOL: for text in ["", "2", "ON", "maybe"] { refuse([(name, text)]) }
      case MULTIFD_OPTION_ENUM: for text in ["", "no such choice", "0"] { refuse([(name, text)]) }
      case MULTIFD_OPTION_STRING:
        if option.maximum < 4096 {
          refuse([(name, String(repeating: "x", count: Int(option.maximum) + 1))])
        }
        if option.minimum > 0 { refuse([(name, "")]) }
      case MULTIFD_OPTION_FILE:
        for path in ["/", "/no/such/file"] { refuse([(name, path)]) }
        if option.minimum > 1 { refuse(name, fileOf: option.minimum - 1) }
        if option.maximum < Int64(MULTIFD_MAX_FILE) { refuse(name, fileOf: option.maximum + 1) }
      default: break
      }
    }
  }
}
