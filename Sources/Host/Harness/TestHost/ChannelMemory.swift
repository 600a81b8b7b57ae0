import Glibc

/// What one channel's backend has from alloc() and has not given back.
///
/// Used by one thread at a time, like the host that it belongs to.
final class ChannelMemory {
  /// Where it comes from.
  enum Kind {
    /// Guard pages around each piece; what is given back becomes inaccessible.
    case guarded
    /// As the real host: for tests with very many channels.
    case plain
  }

  private let context: Context
  private let kind: Kind
  private let filling: UInt8
  /// The number of the allocation that fails, counting from 0 with the channel's first.
  var failingAllocation: Int?
  /// How often there was a call.
  private(set) var allocationCount = 0
  /// Bytes, now and at most.
  private(set) var allocated = 0
  private(set) var peak = 0
  private var live: [UnsafeMutableRawPointer: (size: Int, memory: GuardedMemory?)] = [:]
  private var freed: [GuardedMemory] = []
  /// How many pieces there are.
  var liveCount: Int { live.count }

  /// As the real host's.
  static let limit = 256 << 20

  init(_ context: Context, _ kind: Kind, filling: UInt8) {
    self.context = context
    self.kind = kind
    self.filling = filling
  }

  func alloc(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
    defer { allocationCount += 1 }
    guard alignment > 0, alignment & (alignment - 1) == 0 else {
      context.fail("alloc() with an alignment of \(alignment)", as: "bounds/services")
      return nil
    }
    guard allocationCount != failingAllocation, size >= 0, alignment <= 1 << 30,
      size <= Self.limit - allocated
    else { return nil }
    allocated += size
    peak = max(peak, allocated)
    if kind == .guarded {
      let memory = GuardedMemory(
        size, alignment: alignment, kind: .allocation, filling: filling)
      live[memory.base] = (size, memory)
      return memory.base
    }
    var start: UnsafeMutableRawPointer?
    guard posix_memalign(&start, max(alignment, 16), max(size, 1)) == 0, let start else {
      return nil
    }
    live[start] = (size, nil)
    return start
  }

  func free(_ pointer: UnsafeMutableRawPointer?) {
    guard let pointer else { return }
    guard let (size, memory) = live.removeValue(forKey: pointer) else {
      context.fail(
        "free() of what alloc() never returned, or for a second time", as: "bounds/allocations")
      return
    }
    allocated -= size
    guard let memory else {
      Glibc.free(pointer)
      return
    }
    if !memory.isSlackIntact {
      context.fail("wrote behind the \(size) bytes of an allocation", as: "bounds/allocations")
    }
    // Out of bounds from now on. The oldest are forgotten, since address space has an end, too.
    memory.allow(.nothing, kind: .freed)
    freed.append(memory)
    if freed.count > 64 { freed.removeFirst() }
  }

  /// After cleanup: what was not given back is a breach of `resources/services-memory`.
  func checkEmpty(_ cleanup: String) {
    for (pointer, (size, memory)) in live {
      context.fail(
        "\(size) bytes of alloc() are not given back by \(cleanup)()",
        as: "resources/services-memory")
      if memory == nil { Glibc.free(pointer) }
    }
    live = [:]
  }
}
