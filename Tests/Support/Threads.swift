import Foundation

/// Runs `body` with 0, 1, … `count` - 1, each in a thread of its own, all at once, and waits for
/// them. (Dispatch starts no more threads than there are cores.)
public func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for index in 0..<count {
    group.enter()
    Thread.detachNewThread {
      body(index)
      group.leave()
    }
  }
  group.wait()
}
