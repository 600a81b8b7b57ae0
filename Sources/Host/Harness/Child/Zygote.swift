import CHarness
import Glibc

/// The process that the children of a run are forked from, as the run sees it: `zygote.c` tells
/// what it is.
///
/// It lives as long as this object, and its children no longer than it. They are its own, so it is
/// the one that ends them.
final class Zygote {
  private var zygote = charness_zygote()
  private let isQuick: Bool

  /// Starts it: the one exec of a run.
  init(_ settings: HarnessSettings) throws(HarnessFault) {
    isQuick = settings.isQuick
    let words =
      [settings.executable, ChildProcess.zygoteFlag] + ChildOrder("", settings).arguments
    // C strings of our own, freed below: posix_spawn reads them before it returns.
    let arguments = words.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    // Memory that a backend takes for zero shows. What it has to say it says at once: two minutes
    // are for a machine that is busy beyond all measure.
    let error = charness_zygote_start(settings.executable, arguments, 165, 120, &zygote)
    if error != 0 { throw Self.fault(error) }
  }

  deinit { charness_zygote_end(&zygote) }

  /// A child that runs `test`, and shares the memory of a descriptor.
  func start(_ test: TestDescription, sharing descriptor: Int32) throws(HarnessFault)
    -> charness_child
  {
    var child = charness_child()
    let error = charness_zygote_child(
      &zygote, test.order, descriptor, fillsMemory(of: test) ? 1 : 0, &child)
    if error != 0 { throw Self.fault(error) }
    return child
  }

  /// Nothing is filled where speed is measured. Nor, in a quick run, where options go to their
  /// ends: that is hundreds of megabytes in some codecs, and what is in memory shows in the other
  /// tests as well.
  private func fillsMemory(of test: TestDescription) -> Bool {
    let costly = [
      "options/ends", "options/combinations", "isolation/options", "options/apart",
      "roundtrip/changing-pages", "order/independent-order",
    ]
    return test.group != .perf && !(isQuick && costly.contains(test.id))
  }

  /// Ends what is left of a child and of what it has started. The status as of waitpid(2), or -1.
  func end(_ child: inout charness_child) throws(HarnessFault) -> Int32 {
    var status: Int32 = -1
    let error = charness_zygote_end_child(&zygote, &child, &status)
    if error != 0 { throw Self.fault(error) }
    return status
  }

  private static func fault(_ error: Int32) -> HarnessFault {
    switch error {
    case EPIPE: HarnessFault("no child process: the one that they are forked from has ended")
    case ETIMEDOUT: HarnessFault("no child process: the one that they are forked from is silent")
    default: HarnessFault("no child process: \(String(cString: strerror(error)))")
    }
  }

  /// What the zygote does: comes back in each child, with the name of its test.
  static func serve(_ order: ChildOrder) -> String {
    // What every child would have to make for itself. None of it has to do with a backend.
    Filling.files.forEach { charness_zygote_keep($0) }
    GlobalSymbols.prepare()
    _ = Catalogue.test("")
    _ = Rules.names
    Rehearsal.run(order)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(CHARNESS_NAME_MAX)) { name in
      // Filled with CHARNESS_NAME_MAX bytes, a NUL among them.
      charness_zygote_serve(name.baseAddress!)
      return String(cString: name.baseAddress!)
    }
  }
}
