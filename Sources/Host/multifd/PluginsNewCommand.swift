import ArgumentParser
import Foundation
import Migration
import Roles
import Skeletons

extension Skeleton.Language: ExpressibleByArgument {}

/// `multifd plugins new`: a backend to begin with.
struct PluginsNewCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "new",
    abstract: "Write a backend to begin with: it builds, it works, it passes the harness.",
    discussion: """
      Makes a folder with a small backend, a Makefile and a README.md that says what to do next. \
      Needed to build it: make, and a C compiler, a C++ compiler, cargo or swiftc. In Python it \
      is a prototype, slow, for trying a format: it needs a C compiler and, where it runs, Python 3.
      """)

  @Argument(help: "The backend's name: lower-case letters, digits, - and _, at most 29.")
  var name: String

  @Option(
    help: "The language: \(Skeleton.Language.allCases.map(\.rawValue).joined(separator: ", ")).")
  var language: Skeleton.Language = .c

  @Option(
    help: ArgumentHelp("The folder to make; default ./NAME.", valueName: "dir"),
    completion: .directory)
  var dir: String?

  func validate() throws {
    guard Self.isBackendName(name) else {
      throw ValidationError(
        "'\(name)' is not a backend's name: at most 31 of a-z 0-9 _ -, a letter or digit first")
    }
    guard Skeleton.formatName(of: name) != nil else {
      throw ValidationError(
        "'\(name)' is too long: its wire format is x-NAME/1, for private use, and a format's NAME "
          + "has at most 31 letters, the x- among them")
    }
  }

  func run() throws {
    let folder = dir ?? "./\(name)"
    let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let bin = executable.deletingLastPathComponent().path
    guard let home = Skeleton.Home(executableFolder: bin) else {
      throw Failure(
        .failed, "plugins new", "there is no multifd_plugin.h to go with \(executable.path)",
        hint: "use the multifd of an installation or of a build tree")
    }
    if let there = try? FileManager.default.contentsOfDirectory(atPath: folder), !there.isEmpty {
      throw Failure(.failed, folder, "is there already and not empty", hint: "--dir names another")
    }
    guard let skeleton = Skeleton(name: name, language: language, home: home) else {
      throw Failure(.usage, name, "is too long a name")
    }
    do {
      try skeleton.write(to: folder)
    } catch {
      throw Failure(.failed, folder, error.localizedDescription)
    }
    print(
      """
      \(folder): \(skeleton.files.map(\.path).joined(separator: " "))
      next: cd \(folder) && make && make check ARGS=--quick
      """)
  }

  /// `[a-z0-9][a-z0-9_-]{0,30}`, as the header says.
  private static func isBackendName(_ name: String) -> Bool {
    let letters = Set("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
    guard let first = name.utf8.first, letters.contains(first), name.utf8.count <= 31 else {
      return false
    }
    return name.utf8.allSatisfy {
      letters.contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
    }
  }
}
