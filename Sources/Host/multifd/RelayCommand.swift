import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles
import Transport

/// `multifd relay`.
struct RelayCommand: LoggingCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay",
    abstract: "Pass a migration on, between stock QEMUs and links, in any format.",
    usage: "multifd relay --listen URI --to [link:]URI [OPTIONS]",
    discussion: """
      Between two relays is a link, on which pages travel in any backend's format:

        destination  qemu-system-x86_64 … -incoming unix:/run/vm.sock
                     multifd relay --listen tcp:0.0.0.0:4450 --to unix:/run/vm.sock --tls-creds-listen DIR
        source       multifd relay --listen unix:/run/out.sock --to link:tcp:DEST:4450 --compression lz4 \
                       --tls-creds-to DIR
                     (qemu) migrate unix:/run/out.sock

      Both QEMUs have multifd on, multifd-compression none, and as many multifd-channels; with \
      return-path the source lets go of its guest only when the destination has it. One process passes \
      one guest on, and ends with it. If any of them dies, the guest goes on at its source.
      """)

  @Option(
    help: ArgumentHelp(
      "Where the source connects, a QEMU or a link: tcp:HOST:PORT, unix:PATH or fd:N.",
      discussion: "As of 'multifd receive'.", valueName: "uri"))
  var listen: String

  @Option(
    help: ArgumentHelp(
      "Where the guest goes: tcp:HOST:PORT, unix:PATH or fd:N[,M…] of a QEMU; link: before it for a link.",
      discussion: "fd:N[,M…] as of 'multifd send': as many connections as the source makes.",
      valueName: "uri"))
  var to: String

  @Option(
    help: ArgumentHelp(
      "How pages travel from here on.",
      discussion: """
        QEMU's none, zlib or zstd: the fastest backend for it. A backend. Or, to a link, auto or \
        auto=NAME,NAME…: what is the fastest for each packet. By default as they come; from a link to \
        a QEMU as they are. A backend's format must be on the far side too. To a QEMU it must be what \
        multifd-compression says there.
        """, valueName: "name[,key=value…]"))
  var compression: String?

  @Option(
    help: "Number of multifd channels that the source must open; by default as many as it does.")
  var channels: Int?

  @Option(help: "The most bytes a second to send on: 100M, 1G.")
  var maxBandwidth: ByteSize?

  @Option(help: "Seconds of silence in the middle of something after which a peer is lost.")
  var timeout: Double = 30

  @Option(help: "Progress on stderr: auto (on a terminal), plain, json, none.")
  var progress: ProgressMode = .auto

  @Flag(help: "Print the summary as JSON.")
  var json = false

  @Flag(help: "With auto: say what was chosen how often, and why.")
  var explain = false

  @OptionGroup var config: ConfigArguments

  @OptionGroup(title: "FIGURES") var figures: FiguresArguments

  @OptionGroup(title: "TLS") var tls: TLSRelayArguments

  @OptionGroup var plugins: PluginOptions

  func validate() throws {
    if let channels, !(0...255).contains(channels) {
      throw ValidationError("--channels must be 0 to 255")
    }
    if maxBandwidth?.bytes == 0 { throw ValidationError("--max-bandwidth must be above 0") }
    try TimeOut.check(timeout, "--timeout")
  }

  func run() throws {
    let options = try makeOptions()
    let told = try figures.options()
    let guardian = try Workers.start(
      "relay", callLimit: timeout, passing: [options.listen.passed, options.to.endpoint.passed]
    ) { worker in
      let line = ProgressLine(progress)
      let relay = Relay(
        options, loader: plugins.loader, onFailure: worker.failing, log: Console.note)
      worker.onCancel(relay.cancel, limit: relay.limit, hold: relay.hold)
      var end = WorkerEnd()
      do throws(Failure) {
        let summary = try relay.run(
          onListening: { Workers.listening(on: $0, worker) { relay.status } }, onProgress: line.show
        )
        end.output =
          json
          ? Console.text(json: summary)
          : Console.printable(
            summary.description + (explain ? ChoiceText.lines(summary.choices) : ""))
      } catch { end.failure = error }
      line.finish()
      end.isOrderly = !relay.hasLeftThreads
      return end
    }
    let end = Workers.wait(guardian, figures.desk(told, orders: Workers.relayOrders(guardian)))
    if !end.output.isEmpty { print(end.output) }
    if let failure = end.failure { throw failure }
  }

  private func makeOptions() throws -> RelayOptions {
    do {
      var options = RelayOptions(
        listen: try Endpoint(parsing: listen), to: try Destination(parsing: to))
      let (near, far) = (options.listen.passed, options.to.endpoint.passed)
      try near?.checkApart(from: far)
      try near?.checkListening(channels: channels)
      try far?.checkConnected(count: channels.map { $0 + 1 })
      options.compression = try FormatWish(parsing: compression)
      (options.listenTLS, options.toTLS) = try tls.credentials()
      options.insecure = tls.peers.insecure
      // Before anybody has connected.
      _ = try options.toTLS?.name(at: options.to.endpoint)
      options.channels = channels
      options.timeout = timeout
      options.maxBandwidth = maxBandwidth?.bytes
      return options
    } catch { throw Failure(error, at: "relay") }
  }
}

extension RelaySummary: CustomStringConvertible {
  /// The summary for people.
  public var description: String {
    let head =
      switch result {
      case "migrated": "guest passed on to \(to), which has it"
      case "protected": "guest protected by \(to), until its source ended"
      default: "guest passed on to \(to); return-path was off, so whether it has it was not said"
      }
    var lines = [
      head,
      "  total time   \(Console.time(totalTime))",
      "  received     \(Console.bytes(received))",
      "  transferred  \(Console.bytes(transferred)) (\(compression))",
    ]
    for channel in channels {
      lines.append(
        "  channel \(channel.id)    \(channel.packets) packets, \(channel.normal) normal, "
          + "\(channel.duplicate) duplicate, \(Console.bytes(channel.received)) in, "
          + "\(Console.bytes(channel.transferred)) out, ratio "
          + String(format: "%.2f", channel.ratio)
          + String(format: ", %.1f s in the codec", channel.codecTime)
          + String(format: ", %.1f s waiting", channel.waitTime))
    }
    return lines.joined(separator: "\n")
  }
}
