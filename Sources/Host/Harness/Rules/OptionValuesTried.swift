import PluginAPI

/// What the options of a backend are set to. Of files those that the harness makes: one that the
/// backend has trained, which has to do, and bytes at random, which it may refuse.
extension Options {
  /// Values that have to work: both ends of a range, every choice, a trained file.
  static func values(of option: OptionEntry, _ context: Context) throws(Stop) -> [String] {
    guard option.type == MULTIFD_OPTION_FILE else { return option.extremes }
    let given = context.order.options[option.name ?? ""] ?? ""
    let file = try trained(option, context) ?? random(option).first
    return (given.isEmpty ? [] : [""]) + (file.map { [$0] } ?? [])
  }

  /// A value at random.
  static func anyValue(
    of option: OptionEntry, _ context: Context, _ random: inout Seeded
  ) throws(Stop) -> String {
    guard option.type == MULTIFD_OPTION_FILE else { return option.anyValue(&random) }
    let files = try [""] + values(of: option, context) + self.random(option)
    return files.randomElement(using: &random) ?? ""
  }

  /// Files of bytes at random: the shortest one, and one of some length.
  static func random(_ option: OptionEntry) -> [String] {
    let shortest = max(1, option.minimum)
    guard shortest <= option.maximum else { return [] }
    return Set([shortest, min(option.maximum, max(shortest, 5000))]).sorted().compactMap { size in
      OptionFiles.made("<\(size) random bytes>") {
        var random = Seeded(UInt64(size))
        return (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
      }
    }
  }

  /// Whether a backend may refuse these in setup.
  static func mayBeRefused(_ options: [String: String]) -> Bool {
    options.values.contains { $0.hasSuffix(" random bytes>") }
  }

  /// The name of a file that the backend makes for this option; another one for each number. Nil
  /// when it makes none. What is wrong with it is `options/trained`'s.
  static func trained(
    _ option: OptionEntry, _ context: Context, _ number: Int = 1
  ) throws(Stop) -> String? {
    let library = try context.library
    guard library.methods.train != nil, let name = option.name else { return nil }
    return OptionFiles.made("<trained \(name) \(number)>") {
      let call = TrainingCall(library, trainingOrder(option, library, context, number))
      return range(option).contains(call.bytes.count) ? call.bytes : nil
    }
  }

  /// A few hundred pages, and room for no large file.
  static func trainingOrder(
    _ option: OptionEntry, _ library: Library, _ context: Context, _ number: Int = 1
  ) -> TrainingCall.Order {
    let size = library.pageSize, count = max(8, (256 << 12) / size)
    let block = Block(pageSize: size, pages: count, kind: .source)
    var random = Seeded(context.order.seed &* 31 &+ UInt64(number))
    block.fill(&random) { $0 % 4 == 3 ? .text : .ram }
    return TrainingCall.Order(
      option: option.name ?? "", pages: block.offsets.flatMap { block.bytes(at: $0) },
      pageSize: size, room: min(max(64 << 10, range(option).lowerBound), range(option).upperBound))
  }

  /// Bytes of a file that is none of no bytes.
  static func range(_ option: OptionEntry) -> ClosedRange<Int> {
    let most = Int(clamping: max(1, min(option.maximum, Int64(MULTIFD_MAX_FILE))))
    return max(1, min(Int(clamping: option.minimum), most))...most
  }
}
