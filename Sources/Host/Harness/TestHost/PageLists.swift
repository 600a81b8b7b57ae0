/// The lists of a packet's pages, read-only during a call and off limits after it.
final class PageLists {
  private let memory: GuardedMemory
  private let capacity: Int
  private var isShown = false
  /// Most channels never have zero pages, and their list stays closed.
  private var wasShown = false

  init(capacity: Int) {
    self.capacity = capacity
    memory = GuardedMemory(max(1, capacity) * 8, alignment: 8, kind: .staleList, isClosed: true)
  }

  /// The list in memory; it ends where the guard page begins. Nil when it is empty.
  func show(_ offsets: [UInt64]) -> UnsafePointer<UInt64>? {
    guard !offsets.isEmpty else { return nil }
    if wasShown { memory.allow(.writing) } else { memory.open() }
    isShown = true
    wasShown = true
    // At most `capacity` entries: the drivers see to that.
    let start = (memory.base + (capacity - offsets.count) * 8).assumingMemoryBound(to: UInt64.self)
    start.update(from: offsets, count: offsets.count)
    memory.allow(.reading, kind: .list)
    return UnsafePointer(start)
  }

  func hide() {
    guard isShown else { return }
    isShown = false
    memory.allow(.nothing, kind: .staleList)
  }
}
