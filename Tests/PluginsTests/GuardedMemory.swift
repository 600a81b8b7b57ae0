import Foundation
import Synchronization

/// Memory that ends at a page nobody may touch, and starts behind one.
final class GuardedMemory {
  let base: UnsafeMutableRawPointer
  let size: Int
  private let mapping: Mapping
  private let slack: Int

  private static let canary: UInt8 = 0xc9

  /// Contents are 0xa5, so that memory taken for zero shows.
  init(_ size: Int, alignment: Int = 4096) {
    let body = max((size + Mapping.page - 1) / Mapping.page * Mapping.page, Mapping.page)
    mapping = Mapping.take(body)
    // Against the end; what alignment leaves between there and the guard page holds a canary.
    let start = (body - size) & ~(alignment - 1)
    base = mapping.body + start
    slack = body - start - size
    self.size = size
    memset(base, 0xa5, size)
    memset(base + size, Int32(Self.canary), slack)
  }

  /// Fails the test if somebody wrote between the end and the guard page.
  func checkSlack() {
    let bytes = UnsafeRawBufferPointer(start: base + size, count: slack)
    demand(bytes.allSatisfy { $0 == Self.canary }, "a write behind an allocation")
  }

  deinit { mapping.giveBack() }
}

/// Pages between two that nobody may touch. Of those that nobody needs any more nobody may touch any
/// until they are needed again: a mapping that is made anew each time costs more than all else that
/// a test of a cut payload does.
private struct Mapping {
  static let page = 4096
  /// So many bytes may wait.
  private static let most = 64 << 20

  private struct Waiting {
    /// Where they are, by their size.
    var bodies: [Int: [UInt]] = [:]
    var bytes = 0
  }
  private static let waiting = Mutex(Waiting())

  let body: UnsafeMutableRawPointer
  private let size: Int

  /// One of so many bytes, whole pages. What is in it is anybody's.
  static func take(_ size: Int) -> Mapping {
    let known = waiting.withLock { waiting -> Mapping? in
      // Ours, and whole: it was given back.
      let address = waiting.bodies[size]?.popLast()
      guard let body = address.flatMap(UnsafeMutableRawPointer.init(bitPattern:)) else {
        return nil
      }
      waiting.bytes -= size
      return Mapping(body: body, size: size)
    }
    let mapping = known ?? make(size)
    precondition(mprotect(mapping.body, size, PROT_READ | PROT_WRITE) == 0)
    return mapping
  }

  private static func make(_ size: Int) -> Mapping {
    let start = mmap(nil, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start, start != MAP_FAILED else { preconditionFailure("mmap of \(size) bytes") }
    return Mapping(body: start + page, size: size)
  }

  /// Nobody needs it any more.
  func giveBack() {
    precondition(mprotect(body, size, PROT_NONE) == 0)
    let (size, address) = (size, UInt(bitPattern: body))
    let waits = Self.waiting.withLock { waiting in
      guard waiting.bytes + size <= Self.most else { return false }
      waiting.bodies[size, default: []].append(address)
      waiting.bytes += size
      return true
    }
    if !waits { munmap(body - Self.page, size + 2 * Self.page) }
  }
}
