import Foundation
import Synchronization

/// What each thread is at, in memory that a signal handler may read; a limit for memory; a watch
/// for hangs.
///
/// Whatever goes wrong, the last line says how to do it again.
final class Guardrail: Sendable {
  /// One thread's place: written by that thread, read by the watcher and by a signal handler.
  struct Place: ~Copyable {
    /// `reproduce with: …` without the number; never freed, so that a reader always finds it whole.
    let command = Atomic<UnsafeMutablePointer<CChar>?>(nil)
    let number = Atomic<UInt64>(0)
  }

  /// For the signal handler, which can capture nothing. Set before the first thread starts, never
  /// freed.
  nonisolated(unsafe) private static var places: UnsafeMutablePointer<Place>?
  nonisolated(unsafe) private static var threads = 0

  private let seed: UInt64

  init(threads: Int, seed: UInt64) {
    self.seed = seed
    let places = UnsafeMutablePointer<Place>.allocate(capacity: threads)
    for thread in 0..<threads { (places + thread).initialize(to: Place()) }
    Self.places = places
    Self.threads = threads
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
      signal(number) { number in
        Guardrail.tell("multifd-fuzz: signal ", UInt64(number))
        for thread in 0..<Guardrail.threads { Guardrail.tellPlace(thread) }
        _exit(1)
      }
    }
  }

  /// The places; every index below is a thread's number, which is less than `threads`.
  private var places: UnsafeMutablePointer<Place> { Self.places! }

  /// A thread turns to another file.
  func begin(_ input: Input, thread: Int) {
    let command =
      "reproduce with: multifd-fuzz --seed \(seed) --only \(input.name) --count 1 --first "
    places[thread].command.store(strdup(command), ordering: .releasing)
  }

  /// A thread turns to another mutation.
  func begin(_ number: UInt64, thread: Int) {
    places[thread].number.store(number, ordering: .relaxed)
  }

  func end(thread: Int) { places[thread].command.store(nil, ordering: .relaxed) }

  func fail(_ what: String, thread: Int) -> Never {
    what.withCString { text in
      Self.tell("multifd-fuzz: ", text: text)
    }
    Self.tellPlace(thread)
    _exit(1)
  }

  /// A length from the wire must never become an allocation: one that is too big fails here,
  /// loudly.
  func limitMemory(to bytes: UInt64) throws {
    // The first number of statm is the size of the address space in pages.
    let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(
      separator: " ")
    let used = (pages.first.flatMap { UInt($0) } ?? 0) * UInt(getpagesize())
    var limit = rlimit(rlim_cur: used + UInt(bytes), rlim_max: used + UInt(bytes))
    guard setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0 else {
      throw CocoaError(.featureUnsupported)
    }
  }

  /// Ends the process when one mutation takes longer than `patience` seconds.
  func watch(patience: Int) {
    Thread.detachNewThread { [self] in
      var seen = [UInt64](repeating: .max, count: Self.threads)
      while true {
        sleep(UInt32(patience))
        for thread in 0..<Self.threads {
          let number = places[thread].number.load(ordering: .relaxed)
          if places[thread].command.load(ordering: .acquiring) != nil && number == seen[thread] {
            fail("no end after \(patience) seconds", thread: thread)
          }
          seen[thread] = number
        }
      }
    }
  }

  // From here on nothing may allocate: it runs in a signal handler.

  private static func tell(
    _ text: StaticString, _ number: UInt64? = nil, text more: UnsafePointer<CChar>? = nil
  ) {
    _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
    if let more { _ = write(2, more, strlen(more)) }
    if let number {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
        // At most 20 digits, from the end.
        var (rest, start) = (number, 20)
        repeat {
          start -= 1
          digits[start] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
          rest /= 10
        } while rest > 0
        _ = write(2, digits.baseAddress! + start, 20 - start)
      }
    }
    var newline = UInt8(ascii: "\n")
    _ = write(2, &newline, 1)
  }

  private static func tellPlace(_ thread: Int) {
    guard let places, let command = places[thread].command.load(ordering: .acquiring) else {
      return
    }
    tell("", places[thread].number.load(ordering: .relaxed), text: command)
  }
}
