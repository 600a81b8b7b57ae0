import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles
import Transport
import Wire

extension SendOptions.Sync: ExpressibleByArgument {}

/// `multifd send`.
struct SendCommand: LoggingCommand {
  static let configuration = CommandConfiguration(
    commandName: "send",
    abstract: "Hand a held guest to a stock QEMU with -incoming, or send it over a link.",
    discussion: """
      The destination has the guest's own command line and -incoming. For --channels above 0 set at \
      the destination: capability multifd, multifd-channels and multifd-compression alike, before \
      migrate-incoming. Until it has taken all of the RAM nothing can go wrong: what does not fit shows, \
      and the guest stays in its store. It runs there once its devices are loaded; the store is then \
      marked, so that no second copy can be started by mistake. Exit code 0 is for a guest that runs \
      there, even if (with a warning) its store could not be marked.

      With link: before the URI it goes to a relay, or to a 'multifd receive' that holds it, and pages may \
      travel in any format that both sides have a backend for.
      """)

  @Option(
    help: ArgumentHelp("The folder that holds the guest.", valueName: "dir"), completion: .directory
  )
  var store: String

  @Option(
    help: ArgumentHelp(
      "The destination: [link:]tcp:HOST:PORT, [link:]unix:PATH, or fd:N[,M…], connections that multifd is started with.",
      discussion: """
        Descriptor N, 3 or above, is the main channel's, and each channel has one of those behind it, in \
        order: they must have been connected in this order too.
        """, valueName: "uri"))
  var to: String

  @Option(help: "Number of multifd channels, 0 to 16; 0 sends everything on the main channel.")
  var channels: Int = 2

  @Option(
    help: ArgumentHelp(
      "How pages travel: QEMU's none, zlib or zstd, a backend, or over a link auto or "
        + "auto=NAME,NAME…; default as they are.",
      valueName: "name[,key=value…]"))
  var compression: String?

  @Option(
    help: ArgumentHelp(
      "This side's copy of the version that the far side has, for a backend that sends differences.",
      discussion: """
        The folder of a store, such as the one in which the guest came from there. Without it pages that differ \
        are sent whole; the far side's own 'receive --reference' decides which those are.
        """, valueName: "dir"), completion: .directory)
  var reference: String?

  @Option(help: "Seconds of silence after which the destination is lost.")
  var timeout: Double = 30

  @Option(
    help:
      "The destination's UUID; by default the guest's own, as its channels or its firmware told it."
  )
  var uuid: String?

  @Option(
    help:
      "How sync points are told: auto (by machine type, or as the destination shows), flush, section."
  )
  var sync: SendOptions.Sync = .auto

  @Flag(
    inversion: .prefixedNo,
    help: ArgumentHelp(
      "Decode all that is sent once: a payload that is wrong stops the hand-over. Or nothing.",
      discussion: """
        By default all is decoded, too, but of a backend whose library has a certificate of multifd-harness beside \
        it (level 5 or more) and whose packets decode each for itself: of that the first packets of each \
        channel and one in sixteen.
        """))
  var verify: Bool?

  @Flag(help: "Send also a guest that was handed over before.")
  var force = false

  @Flag(help: "Print the summary as JSON.")
  var json = false

  @Flag(help: "With auto: say what was chosen how often, and why.")
  var explain = false

  @OptionGroup var config: ConfigArguments

  @OptionGroup(title: "FIGURES") var figures: FiguresArguments

  @OptionGroup(title: "TLS") var tls: TLSConnectArguments

  @OptionGroup var plugins: PluginOptions

  func validate() throws {
    guard (0...16).contains(channels) else { throw ValidationError("--channels must be 0 to 16") }
    try TimeOut.check(timeout, "--timeout")
    if let uuid, VMUUID(uuid) == nil { throw ValidationError("--uuid: '\(uuid)' is no UUID") }
  }

  func run() throws {
    let options: SendOptions
    do { options = try makeOptions() } catch { throw Failure(error, at: "send") }
    let told = try figures.options()
    let leftovers = Leftovers(in: store)
    let guardian = try Workers.start(
      "send", callLimit: timeout, passing: [options.to.endpoint.passed]
    ) { worker in
      let sender = Sender(
        options, loader: plugins.loader, onFailure: worker.failing, settled: worker.isSettled)
      worker.onCancel(sender.cancel)
      worker.publish { sender.status }
      var end = WorkerEnd()
      do throws(Failure) {
        let summary = try sender.run()
        if let warning = summary.warning { Console.warn(warning) }
        end.output =
          json
          ? Console.text(json: summary)
          : Console.printable(text(summary) + (explain ? ChoiceText.lines(summary.choices) : ""))
      } catch { end.failure = error }
      end.isOrderly = !sender.hasLeftThreads
      return end
    }
    let end = Workers.wait(guardian, figures.desk(told, store: store))
    try Workers.finish(guardian, end, leftovers, after: .handOver(isSettled: guardian.isSettled))
  }

  private func makeOptions() throws -> SendOptions {
    var options = SendOptions(store: store, to: try Destination(parsing: to))
    options.tls = try tls.credentials()
    // Before anything is connected.
    _ = try options.tls?.name(at: options.to.endpoint)
    options.channels = channels
    try options.to.endpoint.passed?.checkConnected(count: channels + 1)
    options.compression = try FormatWish(parsing: compression)
    options.timeout = timeout
    options.uuid = uuid.flatMap { VMUUID($0) }
    options.sync = sync
    options.verify = verify.map { $0 ? .all : .none } ?? .needed
    options.reference = reference
    options.force = force
    return options
  }

  private func unchanged(_ summary: SendSummary) -> String {
    guard let pages = summary.unchanged, let bytes = summary.referenceBytes else { return "" }
    let differences = summary.differences.map { ", \($0) of the normal ones as differences" }
    return ", \(pages) unchanged\(differences ?? "")\n"
      + "  reference    \(Console.bytes(bytes)) said what was there already"
  }

  private func text(_ summary: SendSummary) -> String {
    """
    guest of \(store) handed to \(to) (\(summary.machine))
      total time   \(Console.time(summary.totalTime))
      transferred  \(Console.bytes(summary.transferred)) for \(Console.bytes(summary.total)) of RAM: \
    \(summary.normal) normal, \(summary.duplicate) duplicate\(unchanged(summary))
      compression  \(summary.compression), ratio \(String(format: "%.2f", summary.ratio)), \
    \(summary.channels) channels
    """
  }
}
