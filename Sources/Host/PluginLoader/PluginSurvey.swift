import Glibc
import System

/// One file that may be a backend, and what a child process has found out about it.
public struct PluginFinding: Sendable {
  /// The file, as found in its folder.
  public let path: String
  /// NAME of `libmultifd-NAME.so`.
  public let name: String
  /// What the backend says of itself, or why it cannot be used.
  public let result: Result<BackendProfile, PluginError>
}

extension PluginLoader {
  /// The names of the files that ``survey(_:)`` is about, in its order.
  public func names() -> [String] { searchPath.files().map(\.name) }

  /// Looks at every file named `libmultifd-NAME.so`, and opens none: each is tried in a child of
  /// its own, as many at a time as there are processors. A second file with the name of an earlier
  /// one is shadowed, and not tried.
  ///
  /// - Parameter each: is told of the files in search order, of each as soon as all is known up to
  ///   it. Called in this thread.
  public func survey(_ each: (PluginFinding) -> Void) {
    struct State {
      var next = 0
      var results: [Int: Result<BackendProfile, PluginError>] = [:]
    }
    let files = searchPath.filesInOrder()
    let state = Monitor(State())
    @Sendable func work() {
      while true {
        let number = state.update { state in
          state.next += 1
          return state.next - 1
        }
        guard number < files.count else { return }
        let (file, shadowed) = files[number]
        let result = Result { () throws(PluginError) -> BackendProfile in
          if let shadowed { throw shadowed }
          return try PluginRegistry.shared.look(
            file, privileged: searchPath.privileged, probe: probe)
        }
        state.update { $0.results[number] = result }
      }
    }
    let threads = ThreadGroup()
    var started = 0
    while started < min(files.count, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) {
      guard (try? threads.start("survey", work)) != nil else { break }
      started += 1
    }
    // Where there can be no thread, this one does it all.
    if started == 0 { work() }
    for (number, file) in files.enumerated() {
      let result = state.take(seconds: nil) { $0.results.removeValue(forKey: number) }
      guard let result else { continue }  // not without a time limit
      each(PluginFinding(path: file.file.path, name: file.file.name, result: result))
    }
    threads.joinAll()
  }
}
