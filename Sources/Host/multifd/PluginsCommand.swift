import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles

/// `multifd plugins`: which backends there are, what they are, and why others are not used.
struct PluginsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plugins",
    abstract: "Compression backends: which there are, what they can, why one cannot be used.",
    discussion: """
      A backend is a file libmultifd-NAME.so. Folders are searched in this order: each --plugin-dir, \
      those in MULTIFD_PLUGIN_PATH (separated by colons), the folder of the executable, and its \
      ../lib/multifd. A file and its folder must belong to root or the user and be writable for \
      nobody else.
      """,
    subcommands: [
      List.self, Show.self, Check.self, Path.self, PluginsNewCommand.self,
      PluginsTrainCommand.self,
    ],
    defaultSubcommand: List.self)

  /// All backends, and the files that are none.
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All backends, and the files that cannot be used, each with its reason.")
    @OptionGroup var plugins: PluginOptions
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      let loader = plugins.loader
      if json {
        var candidates: [CandidateJSON] = []
        loader.survey { candidates.append(CandidateJSON($0)) }
        return Console.json(candidates)
      }
      var list = PluginsList(names: loader.names())
      loader.survey { finding in
        print(list.row(finding))
        // Each as it comes, also into a pipe.
        fflush(nil)
      }
      if let nothing = list.nothing(in: loader.searchPath.folders) { print(nothing) }
    }
  }

  /// One backend.
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "One backend: its facts and its options.")
    @OptionGroup var plugins: PluginOptions
    @Argument(help: "The backend's name.") var name: String
    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Print key=value lines whose keys stay the same, for scripts.") var plain = false

    func validate() throws {
      if json && plain { throw ValidationError("--json and --plain exclude each other") }
    }

    func run() throws {
      let backend = try reportingErrors { () throws(PluginError) in
        try plugins.loader.look(at: name)
      }
      // Scripts that take key=value lines have never been told of one.
      if plain { return print(PluginsText.plain(backend)) }
      let certificate = CertificateJSON(beside: backend.path)
      if json { return Console.json(BackendJSON(backend, certificate)) }
      print(PluginsText.show(backend, certificate))
    }
  }

  /// Whether one backend can be used.
  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Whether a backend can be used, and for what: exit code 0, or 2 and the reason.")
    @OptionGroup var plugins: PluginOptions
    @Argument(help: "The backend's name.") var name: String
    @Option(help: ArgumentHelp("The least version that will do.", valueName: "version"))
    var atleast: String?
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      do {
        let backend = try plugins.loader.look(at: name)
        if let atleast { try Self.require(atleast, of: backend) }
        if json {
          return Console.json(CandidateJSON(name: name, path: backend.path, backend: backend))
        }
        print("\(PluginsText.line(backend)): can be used")
        print(PluginsText.roles(backend))
      } catch {
        if json {
          Console.json(CandidateJSON(name: name, path: nil, error: error))
        } else {
          printError(error)
        }
        throw ExitCode(2)
      }
    }

    private static func require(_ version: String, of backend: BackendProfile) throws(PluginError) {
      let what = "\(backend.name) \(backend.version)"
      switch backend.isAtLeast(version) {
      case true?: return
      case false?:
        throw PluginError(
          .refused, what: what, why: "is older than \(version)", hint: "it is \(backend.path)")
      case nil:
        throw PluginError(
          .refused, what: what, why: "cannot be compared with version '\(version)'",
          hint: "a version that can be compared is numbers with dots: 1.2.3")
      }
    }
  }

  /// Where backends are looked for.
  struct Path: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The folders that are searched, in order.")
    @OptionGroup var plugins: PluginOptions
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      let path = plugins.loader.searchPath
      let folders = path.entries.map { FolderJSON($0, path.state(of: $0)) }
      if json { return Console.json(folders) }
      print(PluginsText.path(folders))
    }
  }
}

/// The option of every command that opens backends.
struct PluginOptions: ParsableArguments {
  @Option(
    name: .customLong("plugin-dir"),
    help: ArgumentHelp(
      "A folder to look for backends in, first. May be repeated.", valueName: "dir"),
    completion: .directory)
  var pluginDir: [String] = []

  func validate() throws {
    if let obstacle = Self.obstacle(to: pluginDir) { throw ValidationError(obstacle) }
  }

  /// What is wrong with the folders that the option names.
  static func obstacle(to folders: [String]) -> String? {
    folders.lazy.compactMap(PluginSearchPath.obstacle).first.map { "--plugin-dir \($0)" }
  }

  /// A loader for these folders and the usual ones.
  var loader: PluginLoader { PluginLoader(searchPath: PluginSearchPath(explicit: pluginDir)) }
}

/// Prints `multifd: error: …` and its hint to standard error.
private func printError(_ error: PluginError) {
  Console.error(error.what, error.why, hint: error.hint)
}

/// Turns a loader's error into its lines and its exit code.
private func reportingErrors<R>(_ body: () throws(PluginError) -> R) throws -> R {
  do {
    return try body()
  } catch {
    printError(error)
    throw ExitCode(error.kind)
  }
}
