import TestSupport
import Testing

/// What happens when nobody takes what a command has to say: it goes on, and its exit code is its
/// own.
@Suite("Errors that cannot be written")
struct ConsoleTests {
  @Test(
    "A full log, a closed one, and one that nobody reads any more",
    arguments: ["exec 2>/dev/full", "exec 2>&-", "exec 2> >(exec true); sleep 0.3"])
  func log(redirection: String) throws {
    let command = try MultiFDProcess(
      ["status", "--store", "/nonexistent"],
      wrapper: ["/usr/bin/env", "bash", "-c", redirection + "; exec \"$@\"", "bash"])
    #expect(try command.wait(.seconds(20)).code == 1)
  }
}

/// What is said on stderr, in each of its forms.
@Suite("What a log gets")
struct LogTests {
  private static let script = [
    "text": "exec \"$@\"",
    "journal": "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec \"$@\"",
    "another": "export JOURNAL_STREAM=1:1; exec \"$@\"",
  ]

  private func say(_ script: String, _ arguments: [String] = []) throws -> [Substring] {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    // A store's folder cannot lie in a file: an error, before anybody has connected.
    try Program.write("", to: folder("file"))
    let command = try MultiFDProcess(
      ["receive", "--listen", "unix:" + folder("s"), "--store", folder("file") + "/store"]
        + arguments, wrapper: ["/usr/bin/env", "bash", "-c", script, "bash"])
    let result = try command.wait(.seconds(20))
    #expect(result.code == 1, "\(result)")
    return result.errors.split(separator: "\n")
  }

  @Test("text, and the journal's, which is found out")
  func forms() throws {
    for (name, script) in Self.script {
      let lines = try say(script)
      let mark = name == "journal" ? "<3>" : ""
      #expect(lines.contains { $0.hasPrefix(mark + "multifd: error: ") }, "\(name): \(lines)")
    }
    let asked = try say(Self.script["journal"]!, ["--log-format", "text"])
    #expect(asked.allSatisfy { !$0.hasPrefix("<") }, "\(asked)")
  }

  @Test("JSON: an object a line")
  func json() throws {
    let lines = try say(Self.script["text"]!, ["--log-format", "json"])
    let values = try lines.map { try JSON(parsing: $0.utf8) }
    let last = try #require(values.last)
    #expect(last["level"].string == "error" && last["message"].string?.isEmpty == false)
    #expect(last["time"].string?.hasSuffix("Z") == true && last["pid"].int ?? 0 > 1)
  }
}
