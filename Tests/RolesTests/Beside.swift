import Foundation
import System
import Testing

/// Runs a suite's tests on threads of their own, beside those that all tests share: the roles' tests
/// start processes and wait for them, and a shared thread that waits keeps others from running.
struct Beside: SuiteTrait, TestTrait, TestScoping {
  let isRecursive = true

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(Threads.shared) { try await function() }
  }

  /// As many as two processors bear.
  private final class Threads: TaskExecutor {
    static let shared = Threads(3)
    private let jobs = Monitor<[UnownedJob]>([])

    init(_ count: Int) {
      for _ in 0..<count {
        Thread.detachNewThread { [self] in
          while let job = next() { job.runSynchronously(on: asUnownedTaskExecutor()) }
        }
      }
    }

    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      jobs.update { $0.append(job) }
    }

    private func next() -> UnownedJob? {
      jobs.take(seconds: nil) { $0.isEmpty ? nil : $0.removeFirst() }
    }
  }
}

extension Trait where Self == Beside {
  /// See ``Beside``.
  static var beside: Self { Beside() }
}
