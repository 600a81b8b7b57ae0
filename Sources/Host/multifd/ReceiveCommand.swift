import ArgumentParser
import Foundation
import Migration
import PluginLoader
import Roles
import Transport
import Wire

/// `multifd receive`.
struct ReceiveCommand: LoggingCommand {
  static let configuration = CommandConfiguration(
    commandName: "receive",
    abstract: "Receive a running guest from a stock QEMU and hold it in a folder.",
    usage: "multifd receive --listen URI --store DIR [OPTIONS] [-- qemu-system-x86_64 ARGS…]",
    discussion: """
      At the source: migrate_set_capability multifd on, return-path on, then migrate tcp:HOST:PORT. \
      The number of channels, the compression method and the dialect are recognised from the stream. \
      With return-path the source waits until the guest is safely held, and goes on with it if not.
      """)

  @Option(
    help: ArgumentHelp(
      "Where to listen: tcp:HOST:PORT, unix:PATH, or fd:N, a socket that multifd is started with.",
      discussion: """
        Descriptor N, 3 or above, listens; or it is a connection, the only one then, and the source migrates \
        without multifd.
        """, valueName: "uri"))
  var listen: String

  @Option(
    help: ArgumentHelp("The folder that will hold the guest.", valueName: "dir"),
    completion: .directory)
  var store: String

  @Option(
    help: ArgumentHelp(
      "A folder with an older version of the guest: over a link only what differs comes.",
      discussion: """
        It is read, never changed. The new store begins as a copy of its RAM, which takes less room where \
        the file system can share data, and 'multifd send --to link:URI' leaves out what is there. Of no use, and \
        not used, when a QEMU sends.
        """, valueName: "dir"), completion: .directory)
  var reference: String?

  @Option(help: "Number of multifd channels; by default as many as the source opens.")
  var channels: Int?

  @Option(
    help: ArgumentHelp(
      "Accept only QEMU's none, zlib or zstd, or this backend's format.",
      valueName: "name[,key=value…]"))
  var compression: String?

  @Option(help: "Seconds of silence in the middle of something after which a peer is lost.")
  var timeout: Double = 30

  @Option(help: "The most RAM that a guest may have.")
  var maxRam = ByteSize(bytes: 1 << 40)

  @Option(help: "The UUID that the guest must have.")
  var uuid: String?

  @Flag(
    help: ArgumentHelp(
      "Acknowledge the switchover at once, whatever the machine type (capability switchover-ack).",
      discussion: """
        Not needed: for machine types 8.1 to 11.0 that is done anyway, and for others (those whose names have \
        no QEMU version among them) as soon as the source shows that it waits for it. A QEMU before 8.1 or \
        after 11.0 without switchover-ack fails the migration with this.
        """)
  )
  var switchoverAck = false

  // For measurements: `multifd-lab bench ahead`.
  @Option(help: .hidden) var preallocationThreads: Int?

  @Option(help: "Progress on stderr: auto (on a terminal), plain, json, none.")
  var progress: ProgressMode = .auto

  @Flag(help: "Print the summary as JSON.")
  var json = false

  @OptionGroup var config: ConfigArguments

  @OptionGroup(title: "FIGURES") var figures: FiguresArguments

  @OptionGroup(title: "TLS") var tls: TLSListenArguments

  @OptionGroup var plugins: PluginOptions

  @OptionGroup(title: "Standby") var standby: StandbyArguments

  func validate() throws {
    if let channels, !(0...255).contains(channels) {
      throw ValidationError("--channels must be 0 to 255")
    }
    try TimeOut.check(timeout, "--timeout")
    if let uuid, VMUUID(uuid) == nil { throw ValidationError("--uuid: '\(uuid)' is no UUID") }
    if let preallocationThreads, !(0...64).contains(preallocationThreads) {
      throw ValidationError("--preallocation-threads must be 0 to 64")
    }
    guard reference == nil || !standby.colo else {
      throw ValidationError(
        "--reference is no help with --colo: a primary is a QEMU, which sends all pages")
    }
  }

  func run() throws {
    let options = try makeOptions()
    let told = try figures.options()
    if let warning = standby.warning { Console.warn(warning) }
    // What waits for the guest that is given up holds what the next one needs.
    if standby.adopt { try Failover.endSpare(of: store, log: Console.note) }
    let leftovers = Leftovers(in: store)
    let guardian = try Workers.start(
      "receive", callLimit: timeout, passing: [options.listen.passed]
    ) { worker in
      standby.colo ? protect(options, worker) : receive(options, worker)
    }
    if standby.colo {
      let desk = figures.desk(told, store: store, orders: Workers.standbyOrders(guardian))
      return try standby.run(
        guardian, desk, leftovers, store: store, json: json, timeout: timeout)
    }
    let end = Workers.wait(guardian, figures.desk(told, store: store))
    try Workers.finish(
      guardian, end, leftovers,
      after: .reception(isSettled: guardian.isSettled, isArrived: guardian.isArrived))
  }

  /// In the worker.
  private func receive(_ options: ReceiveOptions, _ worker: Worker) -> WorkerEnd {
    work(options, worker) { (receiver, line, end) throws(Failure) in
      let summary = try receiver.run(
        onListening: { Workers.listening(on: $0, worker) { receiver.status } },
        onProgress: line.show)
      if let warning = summary.warning { Console.warn(warning) }
      end.output = json ? Console.text(json: summary) : Console.printable(summary.description)
    }
  }

  /// In the worker of a standby.
  private func protect(_ options: ReceiveOptions, _ worker: Worker) -> WorkerEnd {
    work(options, worker) { (receiver, line, end) throws(Failure) in
      let outcome = try receiver.runStandby(
        try standby.options(insecure: options.insecure),
        onListening: { Workers.listening(on: $0, worker) { receiver.status } },
        onProgress: line.show,
        onReady: {
          line.finish()
          worker.ready()
        })
      end.output = json ? Console.text(json: outcome.report) : outcome.report.description
      end.failure = outcome.cause
    }
  }

  private func work(
    _ options: ReceiveOptions, _ worker: Worker,
    _ body: (Receiver, ProgressLine, inout WorkerEnd) throws(Failure) -> Void
  ) -> WorkerEnd {
    let line = ProgressLine(progress)
    let receiver = makeReceiver(options, worker)
    var end = WorkerEnd()
    do throws(Failure) { try body(receiver, line, &end) } catch { end.failure = error }
    line.finish()
    end.isOrderly = !receiver.hasLeftThreads
    return end
  }

  private func makeReceiver(_ options: ReceiveOptions, _ worker: Worker) -> Receiver {
    var events = ReceiverEvents()
    events.failing = worker.failing
    events.primaryStands = worker.primaryStands
    events.isStandby = worker.isStandby
    events.arrived = worker.isArrived
    events.settled = worker.isSettled
    let receiver = Receiver(options, loader: plugins.loader, events: events, log: Console.note)
    worker.onCancel(receiver.cancel)
    return receiver
  }

  private func makeOptions() throws -> ReceiveOptions {
    do {
      var options = ReceiveOptions(listen: try Endpoint(parsing: listen), store: store)
      try options.listen.passed?.checkListening(channels: channels)
      options.tls = try tls.credentials()
      options.insecure = tls.peers.insecure
      try Listener.check(options.listen, tls: options.tls, insecure: options.insecure)
      // --adopt gives up what the store has before they are served.
      if let disks = try standby.options(insecure: options.insecure).disks {
        try Listener.check(disks.listen, tls: options.tls, insecure: disks.insecure)
      }
      options.channels = channels
      options.compression = try compression.map { try CompressionSpec(parsing: $0) }
      options.timeout = timeout
      options.limits.maxRAM = maxRam.bytes
      options.switchoverAck = switchoverAck
      options.preallocationThreads = preallocationThreads
      options.uuid = uuid.flatMap { VMUUID($0) }
      options.reference = reference
      return options
    } catch { throw Failure(error, at: "receive") }
  }
}

extension ReceiveSummary: CustomStringConvertible {
  /// The summary for people.
  public var description: String {
    var lines = [
      "guest held in \(store) (\(machine))",
      "  total time   \(Console.time(totalTime))"
        + (downtime.map { ", guest stopped for \(Console.time($0))" } ?? ""),
      "  transferred  \(Console.bytes(transferred)) (\(Console.bytes(UInt64(rate)))/s)",
      "  ram          \(Console.bytes(ram.total)): \(ram.normal) normal, \(ram.duplicate) duplicate, "
        + (ram.unchanged.map { "\($0) unchanged, " } ?? "")
        + "dirty sync count \(ram.dirtySyncCount)",
      "  devices      \(Console.bytes(UInt64(deviceState)))",
    ]
    if let memory {
      lines.append(
        "  memory       \(Console.bytes(memory.bytes)) of \(Console.pages(memory.pageSize, memory.fileSystem)), got in "
          + Console.time(memory.time))
    }
    if !channels.isEmpty {
      lines.append(
        "  compression  \(compression.backend): \(Console.bytes(compression.uncompressed)) in "
          + "\(Console.bytes(compression.compressed)), ratio "
          + String(format: "%.2f", compression.ratio))
    }
    if let reference {
      lines.append(
        "  reference    \(reference.store), told the source in "
          + Console.bytes(reference.bytes))
    }
    for channel in channels {
      lines.append(
        "  channel \(channel.id)    \(channel.packets) packets, \(channel.normal) normal, "
          + "\(channel.duplicate) duplicate, \(Console.bytes(channel.bytes))")
    }
    if !returnPath {
      lines.append("  note: return-path was off, the source did not wait for this verdict")
    }
    if let hint = memory?.hint { lines.append("  hint: \(hint)") }
    return lines.joined(separator: "\n")
  }
}
