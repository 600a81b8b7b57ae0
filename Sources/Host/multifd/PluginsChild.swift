import Foundation
import PluginLoader

/// A process of its own for each backend of a list. What libraries take of a process (static TLS, signals, threads)
/// they take of that one, so none stands in another's way, as none does where only the one in use is opened.
enum PluginsChild {
  /// Seconds that one may take: more than the loader's own limit for a library.
  private static let limit = 20
  /// More than a table with all its options.
  private static let longest = 1 << 20

  /// All that comes until the other end is closed; nil when that takes too long, or is too much.
  private static func read(_ descriptor: Int32) -> Data? {
    let deadline = ContinuousClock.now + .seconds(limit)
    var text = Data()
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while text.count < longest {
      let left = (deadline - .now) / .milliseconds(1)
      var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard left > 0, poll(&polled, 1, Int32(left) + 1) >= 0 || errno == EINTR else { return nil }
      guard polled.revents != 0 else { continue }
      let count = Glibc.read(descriptor, &piece, piece.count)
      if count == 0 { return text }
      if count > 0 { text.append(contentsOf: piece[..<count]) }
    }
    return nil
  }

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
    guard let text = read(output.fileHandleForReading.fileDescriptor) else {
      // Not waited for any more: it is this process's own child, so the number is still its own.
      kill(child.processIdentifier, SIGKILL)
      return failed("was not done within \(limit) s when it was opened")
    }
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
