import Testing

/// Runs a long serialized suite on another thread than the shared ones. There each test of it would
/// come behind all that wait: the second one when all else is done, and the suite would be left to
/// run alone in the end.
public struct Apart: SuiteTrait, TestTrait, TestScoping {
  /// Nil: each suite has its own.
  let threads: TestThreads?
  /// A thread is a whole suite's, or its tests take turns with others'.
  public var isRecursive: Bool { threads != nil }

  /// Has it run there.
  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(threads ?? TestThreads(1)) { try await function() }
  }

  /// One after the other.
  fileprivate static let one = TestThreads(1)
}

extension Trait where Self == Apart {
  /// On a thread of its own, from its first test to its last.
  public static var apart: Self { Apart(threads: nil) }

  /// On a thread that all such suites share.
  public static var early: Self { Apart(threads: Apart.one) }
}
