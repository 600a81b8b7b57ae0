import Foundation
import TestSupport
import Testing

/// What the programs write for shells, to complete their words by.
@Suite("Completions")
struct CompletionTests {
  private static let programs = ["multifd", "multifd-harness"]

  /// As much of `--experimental-dump-help` as is asked for here.
  private struct Dump: Decodable {
    struct Command: Decodable {
      var commandName: String
      var arguments: [Argument]?
      var subcommands: [Command]?

      /// It, and all in it.
      var all: [Command] { [self] + (subcommands ?? []).flatMap(\.all) }
    }

    struct Argument: Decodable {
      struct Kind: Decodable {
        var directory, file: Nothing?
      }
      struct Nothing: Decodable {}

      var kind: String
      var valueName: String?
      var completionKind: Kind?
    }

    var command: Command
  }

  private func said(_ name: String, _ arguments: [String]) throws -> String {
    let ended = try Repository.run(["\(Lab.executableFolder)/\(name)"] + arguments)
    #expect(ended.code == 0, "\(ended)")
    return ended.output
  }

  /// The words that bash offers for the last of these.
  private func offered(_ words: [String]) throws -> Set<String> {
    let folder = try TemporaryFolder()
    let script = try said(words[0], ["--generate-completion-script", "bash"])
    try script.write(toFile: folder("completions"), atomically: false, encoding: .utf8)
    let ended = try Repository.run(
      [
        "bash", "--norc", "-c",
        """
        cd "$1" && . "$2" && shift 2
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        read -r _ _ _ _ function _ < <(complete -p "$1")
        "$function" "$1" "${@: -1}" "${@: -2:1}"
        printf '%s\\n' "${COMPREPLY[@]}"
        """, "bash", Repository.root, folder("completions"),
      ] + words)
    #expect(ended.code == 0, "\(ended)")
    return Set(ended.output.split(separator: "\n").map(String.init))
  }

  @Test("bash completes commands, options, values and paths")
  func bash() throws {
    #expect(try offered(["multifd", "rec"]) == ["receive"])
    #expect(try offered(["multifd", "plugins", "tr"]) == ["train"])
    #expect(try offered(["multifd", "receive", "--swi"]) == ["--switchover-ack"])
    #expect(try offered(["multifd", "send", "--sync", "fl"]) == ["flush"])
    #expect(try offered(["multifd", "receive", "--store", "Sourc"]) == ["Sources"])
    #expect(try offered(["multifd-harness", "--only-f"]) == ["--only-failed"])
    #expect(try offered(["multifd-harness", "--config", "Makef"]) == ["Makefile"])
  }

  /// A script that offers nothing for an option keeps a shell from offering files for it.
  @Test("what is called dir, file or path is completed as one", arguments: programs)
  func paths(_ program: String) throws {
    let text = try said(program, ["--experimental-dump-help"])
    let dump = try JSONDecoder().decode(Dump.self, from: Data(text.utf8))
    var count = 0
    for command in dump.command.all {
      for argument in command.arguments ?? [] where argument.kind != "flag" {
        let kind = argument.completionKind
        let isRight =
          switch argument.valueName {
          case "dir": kind?.directory != nil
          case "file", "path", "socket": kind?.file != nil
          default: true
          }
        #expect(isRight, "\(command.commandName): completion: .directory or .file() is missing")
        count += kind?.directory == nil && kind?.file == nil ? 0 : 1
      }
    }
    #expect(count > 5)
  }
}
