import TestSupport
import Testing

/// Runs a suite's tests on threads of their own, beside those that all tests share: the roles' tests
/// start processes and wait for them, and a shared thread that waits keeps others from running.
struct Beside: SuiteTrait, TestTrait, TestScoping {
  let isRecursive = true
  /// As many as two processors bear.
  private static let threads = TestThreads(3)

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(Self.threads) { try await function() }
  }
}

extension Trait where Self == Beside {
  /// See ``Beside``.
  static var beside: Self { Beside() }
}
