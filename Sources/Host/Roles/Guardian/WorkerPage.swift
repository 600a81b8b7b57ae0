import CLinux
import Glibc
import Memory
import Synchronization

/// What a worker leaves for its guardian without having to say it: a page that both have mapped.
final class WorkerPage: Sendable {
  /// How something else than itself has ended the worker.
  nonisolated(unsafe) let words: UnsafeMutablePointer<clinux_last_words>
  private nonisolated(unsafe) let flags: UnsafeMutablePointer<Atomic<UInt64>>

  /// Before the fork.
  init() throws(SystemError) {
    // Zero at first, and never unmapped: it belongs to the process's last moments.
    let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    guard memory != MAP_FAILED, let memory else { throw SystemError("mmap") }
    words = memory.bindMemory(to: clinux_last_words.self, capacity: 1)
    // Half a page further, so aligned and not the words'; zero is an atomic's zero.
    flags = (memory + 2048).bindMemory(to: Atomic<UInt64>.self, capacity: 4)
  }

  /// See ``Guardian/primaryStands``.
  var primaryStands: Bool {
    get { flags[0].load(ordering: .acquiring) != 0 }
    set { flags[0].store(newValue ? 1 : 0, ordering: .releasing) }
  }

  /// A primary may know that there is a standby.
  var isStandby: Bool {
    get { flags[3].load(ordering: .acquiring) != 0 }
    set { flags[3].store(newValue ? 1 : 0, ordering: .releasing) }
  }

  /// All of a guest has come, and its source may have let go of it: only a store that is whole is left of it.
  var isArrived: Bool {
    get { flags[2].load(ordering: .acquiring) != 0 }
    set { flags[2].store(newValue ? 1 : 0, ordering: .releasing) }
  }

  /// See ``Guardian/isSettled``.
  var isSettled: Bool {
    get { flags[1].load(ordering: .acquiring) != 0 }
    set { flags[1].store(newValue ? 1 : 0, ordering: .releasing) }
  }
}
