import Foundation

/// Threads that tests are run on.
public final class TestThreads: TaskExecutor {
  private let jobs = Monitor<[UnownedJob]>([])

  /// They last as long as the process.
  public init(_ count: Int) {
    for _ in 0..<count {
      Thread.detachNewThread { [self] in
        while true { next()?.runSynchronously(on: asUnownedTaskExecutor()) }
      }
    }
  }

  /// Has one of them do it in its turn.
  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.update { $0.append(job) }
  }

  private func next() -> UnownedJob? {
    jobs.wait(.seconds(60)) { $0.isEmpty ? nil : $0.removeFirst() }
  }
}
