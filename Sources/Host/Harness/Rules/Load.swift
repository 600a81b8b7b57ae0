import CHarness
import CProcessState
import Glibc
import PluginAPI

/// `load`: the library opens, alone and without a trace. These tests open it themselves.
enum Load {
  static let bodies: [String: Rules.Body] = [
    "load/opens": { context throws(Stop) in _ = try opened(context) },
    "load/entry": entry, "load/one-symbol": oneSymbol, "load/own-symbols": ownSymbols,
    "load/quiet": quiet, "load/process-state": processState,
    "load/starts-nothing": startsNothing, "load/entry-twice": entryTwice,
    "load/prompt": prompt, "load/static-tls": staticTLS, "load/run-path": runPath,
    "load/other-major": otherMajor,
  ]

  private static func opened(_ context: Context) throws(Stop) -> UnsafeMutableRawPointer {
    switch Library.dlopen(context.order.path) {
    case .success(let handle): return handle
    case .failure(let error):
      context.fail(error.text, as: "load/opens")
      throw .failed
    }
  }

  private static func openedEntry(_ context: Context) throws(Stop) -> Library.Entry {
    guard let entry = try Library.entry(opened(context)) else {
      context.fail("no symbol \(MULTIFD_PLUGIN_ENTRY)", as: "load/entry")
      throw .failed
    }
    return entry
  }

  @Sendable private static func entry(_ context: Context) throws(Stop) {
    let entry = try openedEntry(context)
    let major = UInt32(MULTIFD_ABI_MAJOR)
    charness_enter(MULTIFD_PLUGIN_ENTRY, 0, 0)
    let table = entry(major)
    charness_leave()
    try context.require(table != nil, "has no table for a host of major \(major)")
  }

  private static func symbols(_ context: Context) throws(Stop) -> ELFSymbols {
    guard let symbols = readFile(context.order.path).flatMap({ ELFSymbols($0) }) else {
      context.fail("is not a 64-bit ELF library", as: "load/opens")
      throw .failed
    }
    return symbols
  }

  @Sendable private static func oneSymbol(_ context: Context) throws(Stop) {
    // The last ones are some linkers' own marks, which no library looks up in another.
    let fine = [MULTIFD_PLUGIN_ENTRY, "_edata", "_end", "__bss_start", "_init", "_fini"]
    let others = try symbols(context).exported.filter { !fine.contains($0) }
    context.check(
      others.isEmpty,
      "also exports \(others.prefix(5).joined(separator: ", "))\(others.count > 5 ? ", …" : ""): "
        + "build with -fvisibility=hidden or a version script")
  }

  /// dlsym(3) with a handle looks into that library and what it names as needed, not into the host.
  @Sendable private static func ownSymbols(_ context: Context) throws(Stop) {
    let handle = try opened(context)
    // What a compiler's instrumentation calls comes with the host, if the host is built like that.
    let instrumentation = ["__asan_", "__tsan_", "__ubsan_", "__sanitizer_"]
    let missing = try symbols(context).imported.filter { name in
      dlsym(handle, name) == nil && !instrumentation.contains { name.hasPrefix($0) }
    }
    context.check(
      missing.isEmpty,
      "needs \(missing.prefix(5).joined(separator: ", ")), but names no library that has it")
  }

  @Sendable private static func quiet(_ context: Context) throws(Stop) {
    let printed = try context.library.printed
    context.check(printed.isEmpty, "prints '\(printed)' when it is opened")
  }

  @Sendable private static func processState(_ context: Context) throws(Stop) {
    let before = ProcessState()
    _ = try openedEntry(context)(UInt32(MULTIFD_ABI_MAJOR))
    if let changed = ProcessState().difference(from: before) {
      context.fail("opening it changes \(changed)")
    }
    context.check(
      !(try symbols(context).program.wantsExecutableStack),
      "asks for stacks that can be executed (-z execstack)")
  }

  @Sendable private static func startsNothing(_ context: Context) throws(Stop) {
    let threads = process_state_threads()
    let descriptors = openDescriptors()
    _ = try openedEntry(context)(UInt32(MULTIFD_ABI_MAJOR))
    let more = process_state_more_threads(threads)
    context.check(more == 0, "opening it leaves \(more) more threads")
    let left = openDescriptors().subtracting(descriptors)
    context.check(left.isEmpty, "opening it leaves \(left.count) more descriptors open")
  }

  /// More than an operator waits for: opening is part of every command that lists backends.
  private static let longest: UInt64 = 1_000_000_000

  @Sendable private static func prompt(_ context: Context) throws(Stop) {
    if charness_sanitized() != 0 { throw .missed("a sanitizer does not live with fork()") }
    // A disk or another process may have held up one of them.
    for attempt in 1...3 {
      let status = try context.forked {
        let (start, waited) = (charness_now(), charness_thread_waited())
        _ = (try? openedEntry(context))?(UInt32(MULTIFD_ABI_MAJOR))
        let (passed, idle) = (charness_now() &- start, charness_thread_waited() &- waited)
        return passed < longest + idle ? 0 : slow
      }
      // How it ends is looked at elsewhere.
      guard status == slow << 8 else { return }
      context.check(attempt < 3, "opening it takes more than a second")
    }
  }

  /// The exit code of a process in which it took too long.
  private static let slow: Int32 = 3

  /// A process has little room for such variables in libraries that are opened late, and other
  /// backends want some, too.
  private static let mostTLS = 64

  @Sendable private static func staticTLS(_ context: Context) throws(Stop) {
    let program = try symbols(context).program
    context.check(
      !program.needsStaticTLS || program.threadSize <= mostTLS,
      "\(program.threadSize) bytes of thread-local variables in the process's own few (static TLS): "
        + "build without -ftls-model=initial-exec")
  }

  @Sendable private static func runPath(_ context: Context) throws(Stop) {
    for folder in try symbols(context).program.runPath {
      let isFine =
        folder.hasPrefix("$ORIGIN") || folder.hasPrefix("/usr/") || folder.hasPrefix("/lib")
      context.check(
        isFine,
        "looks for libraries in '\(clean(folder))' (RUNPATH): whoever can write there runs code in "
          + "the host")
    }
  }

  @Sendable private static func entryTwice(_ context: Context) throws(Stop) {
    let entry = try openedEntry(context)
    let major = UInt32(MULTIFD_ABI_MAJOR)
    let first = entry(major)
    for call in 2...50 {
      try context.require(entry(major) == first, "call \(call) returns another table than call 1")
    }
  }

  @Sendable private static func otherMajor(_ context: Context) throws(Stop) {
    let entry = try openedEntry(context)
    for major in [UInt32(MULTIFD_ABI_MAJOR) + 1, UInt32(MULTIFD_ABI_MAJOR) + 7] {
      guard let table = entry(major) else { continue }
      // Magic and major stand at the same place in every version.
      let own = table.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
      context.check(
        own != UInt16(MULTIFD_ABI_MAJOR),
        "asked by a host of major \(major) it returns a table of major \(own) instead of NULL")
    }
  }
}

/// The descriptors that are open, as numbers.
func openDescriptors() -> Set<String> {
  // The one that reads the folder is open only meanwhile, and is told apart by being closed now.
  Set(
    entries(of: "/proc/self/fd").filter { name in
      guard let number = Int32(name) else { return false }
      return fcntl(number, F_GETFD) >= 0
    })
}
