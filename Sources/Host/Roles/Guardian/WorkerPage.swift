import CLinux
import Glibc
import Memory
import Synchronization
import System

/// What a worker leaves for its guardian without having to say it: a page that both have mapped.
final class WorkerPage: Sendable {
  /// What has become certain. Each is set where it becomes so, and not after something that could
  /// end the worker.
  enum Fact: Int, CaseIterable {
    /// See ``Guardian/primaryStands``.
    case primaryStands
    /// See ``Guardian/isStandby``.
    case isStandby
    /// See ``Guardian/isArrived``.
    case isArrived
    /// See ``Guardian/isSettled``.
    case isSettled
  }

  /// How something else than itself has ended the worker.
  nonisolated(unsafe) let words: UnsafeMutablePointer<clinux_last_words>
  private nonisolated(unsafe) let facts: UnsafeMutablePointer<Atomic<UInt64>>

  /// Before the fork.
  init() throws(SystemError) {
    // Zero at first, and never unmapped: it belongs to the process's last moments.
    let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    guard memory != MAP_FAILED, let memory else { throw SystemError("mmap") }
    words = memory.bindMemory(to: clinux_last_words.self, capacity: 1)
    // Half a page further, so aligned and not the words'; zero is an atomic's zero.
    facts = (memory + 2048).bindMemory(to: Atomic<UInt64>.self, capacity: Fact.allCases.count)
  }

  /// Whether it is so.
  subscript(fact: Fact) -> Bool {
    get { facts[fact.rawValue].load(ordering: .acquiring) != 0 }
    set { facts[fact.rawValue].store(newValue ? 1 : 0, ordering: .releasing) }
  }
}
