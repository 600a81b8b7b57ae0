import Testing

/// Runs a suite's tests on other threads than those that all share: one that waits there keeps others
/// from running, and of a serialized suite each test would come behind all that wait, the second one
/// when all else is done.
public struct Apart: SuiteTrait, TestTrait, TestScoping {
  /// Nil: each suite has one of its own.
  let threads: TestThreads?
  /// A thread is a whole suite's, or its tests take turns with others'.
  public var isRecursive: Bool { threads != nil }

  /// Has it run there.
  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(threads ?? TestThreads(1)) { try await function() }
  }

  /// As many as two processors bear.
  fileprivate static let few = TestThreads(3)
  /// One after the other.
  fileprivate static let one = TestThreads(1)
}

extension Trait where Self == Apart {
  /// On a thread of its own, from its first test to its last.
  public static var apart: Self { Apart(threads: nil) }

  /// On threads that all such suites share: those that start processes and wait for them.
  public static var beside: Self { Apart(threads: Apart.few) }

  /// On a thread that all such suites share: long ones, which are serialized.
  public static var early: Self { Apart(threads: Apart.one) }
}
