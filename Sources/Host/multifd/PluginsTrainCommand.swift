import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles

/// `multifd plugins train`: a dictionary from what guests have in their memory.
struct PluginsTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Make a backend's dictionary from guests in stores.",
    discussion: """
      Takes pages of the guests, at random and none of them zero, has the backend make a file of nine \
      tenths of them, and tries it on the others. A sender is told it as an option of the backend; the \
      far side of a link finds it by what is in it, in the folder dictionaries beside its backends.
      """)

  @OptionGroup var plugins: PluginOptions

  @Argument(help: "The backend's name.")
  var name: String

  @Option(
    help: ArgumentHelp(
      "A store with a guest of the kind that will move; repeat it for more.", valueName: "dir"),
    completion: .directory)
  var store: [String]

  @Option(
    help: ArgumentHelp("The file to write; there must be none.", valueName: "file"),
    completion: .file())
  var output: String

  @Option(
    help: "The backend's option that the file is for; by default its first one that is a file.")
  var option: String?

  @Option(help: "Bytes of the file at most (K, M); by default 112K, or what the option takes.")
  var size: ByteSize?

  @Option(help: "Pages to learn from.")
  var pages = 8192

  @Flag(help: "Print the summary as JSON.")
  var json = false

  func validate() throws {
    if store.isEmpty { throw ValidationError("--store names where a guest is") }
    guard (10...1_048_576).contains(pages) else { throw ValidationError("--pages: 10 to 1048576") }
  }

  func run() throws {
    var options = TrainingOptions(backend: name, stores: store, output: output)
    (options.option, options.size, options.pages) = (
      option, size.map { Int(clamping: $0.bytes) }, pages
    )
    let summary = try Training(options, loader: plugins.loader).run()
    if json { return Console.json(summary) }
    func text(_ ratio: Double) -> String { String(format: "%.2f", ratio) }
    print(
      """
      \(summary.file): \(summary.size) bytes for \(name),\(summary.option)=…, made from \(summary.pages) pages
      \(summary.tried) other pages become \(text(summary.ratio.with)) times smaller, without it \
      \(text(summary.ratio.without)) times
      next: put it where the far side looks, PLUGINDIR/dictionaries/\(summary.name),
            and send with --compression \(name),\(summary.option)=\(summary.file)
      """)
  }
}
