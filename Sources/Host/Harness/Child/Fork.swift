import Glibc

/// Runs `body` in a fork of this process, which ends with the code that it returns: what may happen
/// once in a process happens once for each fork. It reports by the same pipe, and nothing of the
/// parent's is done a second time. The status as of waitpid(2); nil where there can be no process.
func inFork(_ body: () -> Int32) -> Int32? {
  let child = fork()
  guard child >= 0 else { return nil }
  if child == 0 { _exit(body()) }
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0, errno == EINTR {}
  return status
}

extension Context {
  /// The same; a test that can have no process ends.
  func forked(_ body: () -> Int32) throws(Stop) -> Int32 {
    guard let status = inFork(body) else {
      fail("no process for it")
      throw .failed
    }
    return status
  }
}
