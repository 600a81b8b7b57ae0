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
