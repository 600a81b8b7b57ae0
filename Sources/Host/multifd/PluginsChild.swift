import Foundation
import PluginLoader

/// A process of its own for each backend of a list. What libraries take of a process (static TLS, signals, threads)
/// they take of that one, so none stands in another's way, as none does where only the one in use is opened.
enum PluginsChild {
  /// What `multifd plugins check NAME --json` says, in a process of its own.
  static func look(at name: String, path: String, folders: [String]) -> CandidateJSON {
    let child = Process()
    child.executableURL = URL(filePath: "/proc/self/exe")
    child.arguments =
      ["plugins", "check", "--json"] + folders.flatMap { ["--plugin-dir", $0] } + ["--", name]
    child.standardInput = FileHandle.nullDevice
    child.standardError = FileHandle.nullDevice
    let output = Pipe()
    child.standardOutput = output
    func failed(_ why: String) -> CandidateJSON {
      CandidateJSON(
        name: name, path: path, error: PluginError(.internalFault, what: path, why: why))
    }
    do { try child.run() } catch { return failed("no process to look at it in: \(error)") }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    child.waitUntilExit()
    guard let found = try? JSONDecoder().decode(CandidateJSON.self, from: text) else {
      return failed(
        child.terminationReason == .uncaughtSignal
          ? "died of signal \(child.terminationStatus) when it was opened"
          : "gave no answer when it was opened")
    }
    return found.at(path)
  }
}
