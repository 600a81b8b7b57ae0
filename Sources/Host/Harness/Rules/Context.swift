import CHarness
import PluginLoader

/// Collects what a test has to say. Used by all threads of a test.
final class Reporter: Sendable {
  let test: String
  private let sink: @Sendable (ReportLine) -> Void
  private let said = Locked<[String: Int]>([:])

  init(test: String, sink: @escaping @Sendable (ReportLine) -> Void) {
    self.test = test
    self.sink = sink
  }

  func say(_ line: ReportLine) { said.withLock { _ in sink(line) } }

  /// A breach of the rule of `owner`, of this test unless told otherwise. The first three of each
  /// are told.
  func find(_ owner: String?, _ message: String) {
    let owner = owner ?? test
    said.withLock { said in
      said[owner, default: 0] += 1
      if said[owner]! <= 3 { sink(.finding(owner: owner, message: clean(message, limit: 600))) }
    }
  }

  /// How many breaches there were, of any rule.
  var total: Int { said.withLock { $0.values.reduce(0, +) } }

  func count(_ owner: String? = nil) -> Int { said.withLock { $0[owner ?? test] ?? 0 } }
}

/// Ends a test early.
enum Stop: Error {
  /// The reason has been reported.
  case failed
  /// The test does not apply.
  case skipped(String)
  /// It applies, and could have run: something that it needs was not given.
  case missed(String)
}

/// What a test works with: the library, random numbers, a place to report.
///
/// @unchecked Sendable: constant but for the library, which is opened before a test starts threads.
final class Context: @unchecked Sendable {
  let order: ChildOrder
  let reporter: Reporter
  private var opened: Library?
  /// Whether the test has been run with the options of the run before.
  private(set) var isRepeated = false
  /// When what costs much may be left out; never where the test has no options of its own.
  private var deadline = UInt64.max
  /// Where callbacks are noted, when they are.
  var trace: CallTrace?
  private var state: ProcessState?

  /// Added to what is found.
  private let remark: String

  init(_ order: ChildOrder, _ reporter: Reporter, remark: String = "") {
    self.order = order
    self.reporter = reporter
    self.remark = remark
  }

  /// The library that is tried, open.
  var library: Library {
    get throws(Stop) {
      if let opened { return opened }
      let library = try Library.open(order.path, self)
      opened = library
      reporter.say(
        .backend(
          name: library.name, version: library.version, wireFormat: library.wireFormat))
      if !library.has(.send) || !library.has(.receive) { library.partner = partner(of: library) }
      return library
    }
  }

  /// Another backend of the same wire format, with the direction that is missing.
  private func partner(of library: Library) -> Library? {
    // A reporter of its own: the other library is not what is tried here.
    let silent = Reporter(test: order.test) { _ in }
    let missing = library.has(.send) ? Backend.Direction.receive : .send
    for path in OtherBackends.paths(self) {
      var order = order
      order.path = path
      order.options = [:]
      // One that cannot be opened is nobody's partner; nor is one that has no partner itself.
      guard let other = try? Library.open(path, Context(order, silent)) else { continue }
      if other.wireFormat == library.wireFormat, other.has(missing) { return other }
    }
    return nil
  }

  /// The values that a run was given, for the library that they were given for. A partner has its
  /// files.
  func options(of library: Library) -> [String: String] {
    guard let opened, library !== opened else { return order.options }
    return opened.files(in: order.options)
  }

  /// The same test with options of its own, and fewer rounds. What it finds says so.
  ///
  /// - Parameter deadline: on the clock of `charness_now()`; see ``hasTime``.
  func with(_ options: [String: String], deadline: UInt64 = .max) -> Context {
    var order = order
    order.options = options
    order.isQuick = true
    let text = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    let context = Context(order, reporter, remark: " (with \(text.joined(separator: ",")))")
    context.opened = opened
    context.isRepeated = true
    context.deadline = deadline
    return context
  }

  /// Whether a loop may go on that has done once what it is for: an option's end may make a codec a
  /// hundred times slower.
  var hasTime: Bool { charness_now() < deadline }

  /// Ends the test where there is none: a loop need not look itself.
  func requireTime() throws(Stop) {
    if !hasTime { throw .skipped("there is no time left for it") }
  }

  /// Has the process's state compared with what it is now.
  func noteState() { state = ProcessState() }

  /// Reports what of the process is not what it was.
  func checkState(_ when: String) {
    guard let before = state, let changed = ProcessState().difference(from: before) else { return }
    fail("\(changed) changed \(when)", as: "lifecycle/process-state")
  }

  /// A generator of this test's own; different for each label.
  func random(_ label: String = "") -> Seeded {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in (order.test + "#" + label).utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return Seeded(order.seed &* 0x9e37_79b9_7f4a_7c15 ^ hash)
  }

  /// What pages are filled with, by their index: mostly such as cost little in a quick run.
  func manyPages(_ index: Int) -> Content { order.isQuick ? Lane.light(index) : Lane.mix(index) }

  /// One number for a full run, another for a quick one.
  func rounds(_ full: Int, quick: Int) -> Int { order.isQuick ? quick : full }

  /// So many rounds, or as many as can be had in a few seconds where one costs `each` nanoseconds:
  /// some backends take long to be set up, as they may. `times`: how often they are all done.
  func afford(_ rounds: Int, times: Int = 1, each: UInt64) -> Int {
    let seconds: UInt64 = order.isQuick ? 3 : 12
    return min(rounds, max(4, Int(seconds * 1_000_000_000 / max(1, each)) / times))
  }

  /// Reports a breach of this test's rule, or of `owner`'s.
  func fail(_ message: String, as owner: String? = nil) { reporter.find(owner, message + remark) }

  /// Reports a breach unless `condition` holds.
  func check(_ condition: Bool, as owner: String? = nil, _ message: @autoclosure () -> String) {
    if !condition { fail(message(), as: owner) }
  }

  /// The same, and the test ends.
  func require(
    _ condition: Bool, as owner: String? = nil, _ message: @autoclosure () -> String
  ) throws(Stop) {
    guard condition else {
      fail(message(), as: owner)
      throw .failed
    }
  }

  /// Whether this test has failed so far.
  var hasFailed: Bool { reporter.count() > 0 }

  func measure(_ name: String, _ value: Double, _ unit: String) {
    reporter.say(.metric(name: name, value: value, unit: unit))
  }
}

/// SplitMix64: the same numbers from the same seed on every machine.
struct Seeded: RandomNumberGenerator {
  private(set) var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
