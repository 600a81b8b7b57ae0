import CHarness
import Glibc
import PluginAPI

/// `perf/options`: what each option buys and what it costs, as a table over its values. The other
/// options are as they are in this run.
enum PerfOptions {
  /// Seconds and packets for one value: of many, so less than in `perf/throughput`.
  private static let each = 0.04
  private static let packets = 2
  /// Seconds for all of them, after which none is begun: 256 options are no reason to hang.
  private static let all: UInt64 = 30

  /// One value of an option, and how fast a channel is with it.
  private struct Row {
    let value: String
    let isDefault: Bool
    /// Nil where setup refuses it beside what else was given.
    let speed: Perf.Speed?
  }

  @Sendable static func check(_ context: Context) throws(Stop) {
    let options = try context.library.options.filter { !$0.steps.isEmpty }
    if options.isEmpty { throw .skipped("no options with values to choose from") }
    if context.order.isQuick { throw .skipped("only a full run takes the time") }
    let (start, waited) = (charness_now(), charness_waited(getpid()))
    let deadline = start + all * 1_000_000_000
    // The same for every option, so measured once.
    let usual = try measure([:], context)
    var left = 0
    for option in options {
      guard let name = option.name else { continue }
      let given = option.step(of: context.order.options[name] ?? option.defaultValue ?? "")
      var rows: [Row] = []
      for value in option.steps {
        if value != given, charness_now() >= deadline {
          left += 1
          continue
        }
        rows.append(
          Row(
            value: value, isDefault: value == option.defaultValue.flatMap(option.step(of:)),
            speed: value == given ? usual : try measure([name: value], context)))
      }
      tell(name, rows, context)
    }
    if left > 0 {
      context.reporter.say(.text("\(left) more values were not measured: \(all) s had passed"))
    }
    Perf.tellWaiting(context, since: start, waited, as: "machine.waited.options")
  }

  /// A channel whose options differ from this run's by these; nil where they are refused.
  private static func measure(
    _ changes: [String: String], _ context: Context
  ) throws(Stop) -> Perf.Speed? {
    let options = context.order.options.merging(changes) { $1 }
    let bench = Bench(
      try context.library, .ram, packets: packets, options: options,
      seed: context.order.seed)
    guard bench.isReady else { return nil }
    guard let speed = Perf.measure(bench, seconds: each) else {
      let text = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      context.fail(
        "a callback fails with \(text.isEmpty ? "the defaults" : text.joined(separator: ","))")
      throw .failed
    }
    return speed
  }

  private static func tell(_ name: String, _ rows: [Row], _ context: Context) {
    var lines = [[name, "encode MB/s", "cpu s/GB", "decode MB/s", "cpu s/GB", "ratio"]]
    for row in rows {
      let value = row.value + (row.isDefault ? " (default)" : "")
      guard let speed = row.speed else {
        lines.append([value, "refused"])
        continue
      }
      let measure = "options.\(name).\(row.value)"
      context.measure("\(measure).encode", speed.encode / 1e6, "MB/s")
      context.measure("\(measure).decode", speed.decode / 1e6, "MB/s")
      context.measure("\(measure).ratio", speed.ratio, "")
      // Under names of their own: less is better here, and `perf/baseline` looks for more.
      context.measure("cpu.\(measure).encode", speed.encodeCPU, "s/GB")
      context.measure("cpu.\(measure).decode", speed.decodeCPU, "s/GB")
      lines.append([
        value, figure(speed.encode / 1e6), figure(speed.encodeCPU), figure(speed.decode / 1e6),
        figure(speed.decodeCPU), figure(speed.ratio),
      ])
    }
    context.reporter.say(.text(table(lines)))
  }
}

extension OptionEntry {
  /// Values between the ends of a range.
  private static let between = 6

  /// What is worth a line in a table of this option: its choices, or its default, the ends of its
  /// range and some values between them. Nothing for a text, of which there are too many.
  fileprivate var steps: [String] {
    switch type {
    case MULTIFD_OPTION_BOOL: ["off", "on"]
    case MULTIFD_OPTION_ENUM: choices ?? []
    case MULTIFD_OPTION_INT, MULTIFD_OPTION_SIZE:
      Set(numbers + [defaultValue.flatMap(number) ?? minimum]).sorted().map { String($0) }
    default: []
    }
  }

  /// A valid text as `steps` writes it, however the operator or the table does; nil for another.
  fileprivate func step(of text: String) -> String? {
    guard let number = number(text) else { return nil }
    switch type {
    case MULTIFD_OPTION_BOOL: return number == 0 ? "off" : "on"
    case MULTIFD_OPTION_ENUM: return text
    default: return String(number)
    }
  }

  private var numbers: [Int64] {
    guard minimum < maximum else { return [minimum] }
    let parts = UInt64(Self.between + 1)
    // Not negative as an unsigned number, whatever the ends are.
    let width = UInt64(bitPattern: maximum &- minimum)
    return [minimum, maximum]
      + (1..<parts).map { part in
        // What goes to thousands is told apart by its magnitude: 1 … 65537 at 5, 24, 115 …
        guard minimum >= 0, width > 1000 else {
          return minimum &+ Int64(bitPattern: width / parts * part + width % parts * part / parts)
        }
        let low = Double(max(1, minimum))
        let value = low * pow(Double(maximum) / low, Double(part) / Double(parts))
        return min(maximum, max(minimum, Int64(value.rounded())))
      }
  }
}
