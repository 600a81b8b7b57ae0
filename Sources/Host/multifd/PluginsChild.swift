import Foundation
import PluginLoader
import System

/// A process of its own for each backend of a list. What libraries take of a process (static TLS,
/// signals, threads) they take of that one, so none stands in another's way, as none does where
/// only the one in use is opened.
enum PluginsChild {
  /// Seconds that one may take: more than the loader's own limit for a library.
  private static let limit = 20
  /// More than a table with all its options.
  private static let longest = 1 << 20

  /// What `multifd plugins check NAME --json` says, in a process of its own.
  static func look(at name: String, path: String, folders: [String]) -> CandidateJSON {
    func failed(_ why: String) -> CandidateJSON {
      CandidateJSON(
        name: name, path: path, error: PluginError(.internalFault, what: path, why: why))
    }
    let output: OutputPipe, child: Child
    do {
      output = try OutputPipe(.kept(longest))
      child = try Child(
        ["multifd", "plugins", "check", "--json"] + folders.flatMap { ["--plugin-dir", $0] }
          + ["--", name],
        program: .file("/proc/self/exe"), output: .descriptor(output.input), errors: .null,
        in: .ownGroup)
    } catch {
      return failed("no process to look at it in: \(error.reason)")
    }
    let isDone = child.follow(output, within: .seconds(limit))
    // With all that the library has started.
    child.kill()
    guard isDone else { return failed("was not done within \(limit) s when it was opened") }
    if let found = try? JSONDecoder().decode(CandidateJSON.self, from: Data(output.bytes)) {
      return found.at(path)
    }
    return failed(
      child.status?.signal.map { "died of signal \($0) when it was opened" }
        ?? "gave no answer when it was opened")
  }
}
