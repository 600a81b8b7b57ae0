import ArgumentParser
import Foundation
import Migration
import Roles
import Wire

/// `multifd inspect FILE…`: see `Inspector`.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Decode and verify recorded streams.",
    discussion: """
      FILE is what one connection carried in one direction, from its first byte: a main channel or a multifd
      channel, of a QEMU or of a link, told apart by the magic. What the formats of a link's channels are, the
      answer to its main hello says: name that file before them. The exit code is 0 when all are complete, 4
      when one is truncated, corrupt or unsupported, 1 when one cannot be read.
      """)

  @Argument(help: "The recorded streams.", completion: .file())
  var files: [String]

  @Flag(name: [.short, .long], help: "A line for every record and packet.")
  var verbose = false

  @Flag(inversion: .prefixedNo, help: "Decode the payloads of multifd channels with their backend.")
  var payloads = true

  @OptionGroup var plugins: PluginOptions

  @Flag(help: "One JSON object a file, on a line of its own.")
  var json = false

  @Option(help: "Seconds that a backend may take for a payload.")
  var timeout: Double = 30

  func validate() throws { try TimeOut.check(timeout, "--timeout") }

  func run() throws {
    let guardian = try Workers.start("inspect", callLimit: timeout) { _ in
      var end = WorkerEnd()
      end.code = inspect()
      // What was printed may still be in a buffer, and the process ends without looking.
      fflush(nil)
      return end
    }
    let end = Workers.wait(guardian)
    if let failure = end.failure { throw failure }
    if end.code != 0 { throw ExitCode(end.code) }
  }

  /// In the worker.
  private func inspect() -> Int32 {
    var code: Int32 = 0
    var formats: LinkFormats?
    var linkFiles: [InspectReport.Link.File] = []
    for (index, file) in files.enumerated() {
      var inspector = Inspector(path: file)
      inspector.isVerbose = verbose
      (inspector.formats, inspector.files) = (formats, linkFiles)
      if payloads {
        inspector.checkPayloads(plugins.loader) {
          Console.note("\(file): payloads are not checked: \($0)")
        }
      }
      do {
        if !json { print("\(index > 0 ? "\n" : "")\(file):") }
        let report = try inspector.run { if !json { print($0) } }
        print(json ? Console.line(json: report) : "\(report.summary)\nverdict: \(report.verdict)")
        formats = report.link?.agreed ?? formats
        linkFiles = report.link?.files ?? linkFiles
        if report.verdict.ending != .complete && code == 0 { code = 4 }
      } catch {
        Console.error(file, "\(error)", hint: nil)
        code = 1
      }
    }
    return code
  }
}
