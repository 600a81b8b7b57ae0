import TestSupport
import Testing

/// Runs a serialized suite, from its first test to its last, on a thread of its own. Among the shared
/// ones each test of it would come behind all that wait there: the second one when all else is done,
/// and the suite would be left to run alone in the end.
struct Apart: SuiteTrait, TestScoping {
  let isRecursive = false

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(TestThreads(1)) { try await function() }
  }
}

extension Trait where Self == Apart {
  /// See ``Apart``.
  static var apart: Self { Apart() }
}
