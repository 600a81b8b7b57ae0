import ArgumentParser
import Foundation
import Migration
import Roles
import Synchronization
import Transport

/// `multifd protect`.
struct ProtectCommand: LoggingCommand {
  static let configuration = CommandConfiguration(
    commandName: "protect",
    abstract: "Protect a whole guest of a stock QEMU: memory, disks and packets, by a standby.",
    usage: "multifd protect --qmp SOCKET --standby URI [--all-disks] [--all-nets] [OPTIONS]",
    discussion: """
      Runs beside the primary. Looks at the guest first, mirrors its disks to 'multifd receive --colo', \
      starts COLO, and watches: when the standby is lost the guest goes on alone. If this command ends, or is \
      ended, the guest stays protected as it is, and another one takes over.

      Exit codes: 0 the guest has ended by itself; 2 it cannot be protected as it is; 3 the standby is lost.
      """)

  @Option(
    help: ArgumentHelp(
      "The guest's monitor: a path, unix:PATH, or exec:COMMAND.",
      discussion: """
        COMMAND takes one command in QMP as its last argument and prints the answer: \
        'exec:virsh qemu-monitor-command guest1'. Give --oob then, too: nothing else reaches a QEMU that \
        stands still.
        """, valueName: "socket"), completion: .file())
  var qmp: String

  @Option(
    help: ArgumentHelp(
      "Another monitor of the guest, for when it stands still: a path, or unix:PATH.",
      valueName: "socket"), completion: .file())
  var oob: String?

  @Option(
    help: ArgumentHelp(
      "Where 'multifd receive --colo' listens: tcp:HOST:PORT.", valueName: "uri"))
  var standby: String

  @Option(
    help: ArgumentHelp(
      "A disk to mirror: its node's name (or the id of its -drive), and what the standby calls it.",
      valueName: "node[=name]"))
  var disk: [String] = []

  @Flag(help: "Mirror all disks that are written to.")
  var allDisks = false

  @Option(help: ArgumentHelp("A netdev whose packets wait for their checkpoint.", valueName: "id"))
  var net: [String] = []

  @Flag(help: "The packets of all netdevs wait for their checkpoint.")
  var allNets = false

  @Option(
    help: ArgumentHelp(
      "Time between checkpoints: 100ms, or 5ms..10s.",
      discussion: """
        From the least, when packets wait, to the most. By default 5ms..10s with --net or --all-nets, \
        else 200ms.
        """, valueName: "time"))
  var checkpoint: String?

  @Option(help: "Milliseconds that a packet waits before a checkpoint is asked for.")
  var linger: Double = 2

  @Option(
    help: ArgumentHelp(
      "Where QEMU may make sockets for packets; in a folder of its user's own.",
      discussion: "In a service of systemd's its RuntimeDirectory, if it has one.",
      valueName: "dir"),
    completion: .directory)
  var sockets = Self.socketFolder

  /// A service may have a /tmp that no QEMU sees. Of several folders the first is meant, as
  /// RuntimeDirectory= has it.
  private static let socketFolder =
    ProcessInfo.processInfo.environment["RUNTIME_DIRECTORY"]?.split(separator: ":").first
    .map(String.init) ?? "/tmp"

  @Option(help: "Number of multifd channels; 0: a plain stream.")
  var channels = 0

  @Option(help: ArgumentHelp("QEMU's multifd-compression: zlib, zstd …", valueName: "name"))
  var compression: String?

  @Option(help: "The most bytes a second for memory: 100M, 1G.")
  var maxBandwidth: ByteSize?

  @Flag(help: "Protect the guest again as soon as a standby answers.")
  var retry = false

  @Option(help: "Seconds: the longest that the guest may be silent because of its standby.")
  var patience: Double = 3

  @Option(
    help: ArgumentHelp(
      "A shell command that makes sure that a lost standby does not go on with the guest; it must exit 0.",
      discussion: """
        The guest goes on alone when it has; until then what it sends is held. It is tried again every second.
        """, valueName: "command"))
  var fence: String?

  @Option(help: "Seconds that the fence may take; then it is killed.")
  var fenceTimeout: Double = 60

  @Flag(help: "Only say what can be protected and what cannot; change nothing.")
  var dryRun = false

  @Flag(help: "End the guest's protection: the standby is told, so that it revives nobody.")
  var stop = false

  @Flag(help: "Lines of JSON instead of text.")
  var json = false

  @OptionGroup var config: ConfigArguments

  @OptionGroup(title: "FIGURES") var figures: FiguresArguments

  @OptionGroup(title: "TLS") var tls: TLSProtectArguments

  func validate() throws {
    guard (0...255).contains(channels) else {
      throw ValidationError("--channels must be 0 to 255")
    }
    guard !dryRun || !stop else { throw ValidationError("--dry-run or --stop: one of them") }
    guard compression == nil || channels > 0 else {
      throw ValidationError("--compression needs --channels")
    }
    guard disk.isEmpty || !allDisks, net.isEmpty || !allNets else {
      throw ValidationError("--all-disks and --disk, --all-nets and --net exclude each other")
    }
    if let checkpoint, CheckpointInterval(parsing: checkpoint) == nil {
      throw ValidationError("--checkpoint: '\(checkpoint)' is no time: 100ms, 1s, 5ms..10s")
    }
    guard linger >= 0, linger <= 10_000 else {
      throw ValidationError("--linger must be 0 to 10000")
    }
    // Shorter than a few signs of life a standby would be lost by chance.
    guard patience >= 2, patience <= 3600 else {
      throw ValidationError("--patience must be 2 to 3600")
    }
    try TimeOut.check(fenceTimeout, "--fence-timeout")
    if maxBandwidth?.bytes == 0 { throw ValidationError("--max-bandwidth must be above 0") }
  }

  func run() throws {
    let told = try figures.options()
    if !dryRun, !stop { try Keeper.run { try protect(told) } }
    try protect(told)
  }

  private func protect(_ told: FiguresOptions) throws {
    Signals.block()
    let protector = try Protector(try makeOptions(), log: Console.note)
    Signals.watch { kind, why in protector.cancel(kind, why) }
    guard !dryRun else { return try look(protector) }
    guard !stop else {
      try protector.stop()
      return Console.note("the guest is not protected any more")
    }
    for finding in protector.assessment.findings
    where finding.verdict == .unprotected || finding.verdict == .impossible {
      Console.note("\(finding)")
    }
    let checkpoint: ControlSocket.Order = { _ in
      protector.askForCheckpoint()
      return [:]
    }
    let tune: ControlSocket.Order = { arguments throws(Failure) in
      try protector.tune(arguments)
      return [:]
    }
    let desk = figures.desk(
      told, orders: ["x-checkpoint": checkpoint, "migrate-set-parameters": tune])
    try desk.open()
    defer { desk.close() }
    // What is kept for ever has what becomes different, and not each second.
    let isKept = !json && Console.format.withLock { $0 } == .journal
    let last = Mutex<ProtectLine?>(nil)
    do throws(Failure) {
      let reason = try protector.run { [json] line in
        desk.update(protector.status)
        let before = last.withLock { before in
          defer { before = line }
          return before
        }
        if isKept, before?.state == line.state, before?.reason == line.reason { return }
        print(json ? Console.line(json: line) : line.description)
        fflush(nil)
      }
      desk.update(protector.status.ended(because: nil))
      Console.note("the guest has ended by itself (\(reason))")
    } catch {
      desk.update(protector.status.ended(because: error))
      throw error
    }
  }

  private func look(_ protector: Protector) throws {
    let assessment = protector.compared()
    if json {
      Console.json(assessment)
    } else {
      print(assessment.findings.map(\.description).joined(separator: "\n"))
    }
    guard assessment.isPossible else {
      throw Failure(.refused, "protect", "this guest cannot be protected as it is")
    }
  }

  private func makeOptions() throws -> ProtectOptions {
    do {
      let monitor: ProtectOptions.Monitor =
        if qmp.hasPrefix("exec:") { .command(String(qmp.dropFirst(5))) } else {
          .socket(try socket(qmp))
        }
      var options = ProtectOptions(monitor: monitor, standby: try Endpoint(parsing: standby))
      options.outOfBand = try oob.map(socket)
      options.tls = try tls.options()
      if allDisks { options.disks = .all }
      if !disk.isEmpty { options.disks = .named(disk.map(ProtectOptions.Disks.Pair.init)) }
      if allNets { options.nets = .all }
      if !net.isEmpty { options.nets = .named(net) }
      if let checkpoint, let interval = CheckpointInterval(parsing: checkpoint) {
        options.checkpoint = interval
      } else if options.nets != .none {
        options.checkpoint = CheckpointInterval(shortest: 5, longest: 10_000)
      }
      options.linger = linger
      options.sockets = sockets
      options.channels = channels
      options.compression = compression
      options.maxBandwidth = maxBandwidth.map { Int(clamping: $0.bytes) }
      options.retries = retry
      options.patience = patience
      options.fence = fence
      options.fenceTimeout = fenceTimeout
      return options
    } catch { throw Failure(error, at: "protect") }
  }

  /// A path is a socket's, too.
  private func socket(_ text: String) throws -> Endpoint {
    try Endpoint(parsing: text.contains("/") && !text.hasPrefix("unix:") ? "unix:" + text : text)
  }
}

extension Assessment.Finding: CustomStringConvertible {
  /// For people, in one line.
  public var description: String {
    let verdict =
      switch verdict {
      case .protected: "protected"
      case .fine: "fine"
      case .unprotected: "not protected"
      case .impossible: "impossible"
      }
    return "\(subject): \(verdict): \(why)" + (change.map { "; to change it: \($0)" } ?? "")
  }
}

extension ProtectLine: CustomStringConvertible {
  /// For people, in one line.
  public var description: String {
    let time = Date(timeIntervalSince1970: since).formatted(.iso8601)
    var parts = ["\(state.rawValue) since \(time)"]
    if let reason { parts.append(reason) }
    if state == .protected { parts.append("checkpoint \(checkpoint)") }
    if let remaining, let total {
      parts.append(
        "\(Console.bytes(UInt64(remaining))) of \(Console.bytes(UInt64(total))) to go")
    }
    if state == .copying {
      parts += disks.map { disk in
        "\(disk.name) \(Console.bytes(UInt64(disk.copied))) of \(Console.bytes(UInt64(disk.total)))"
      }
    }
    if state == .protected {
      parts += disks.map { "\($0.name) \($0.state)" }
      parts += nets.map { net in
        let wait = net.waitMean.map { String(format: ", waited %.1f ms", $0) } ?? ""
        let dropped = net.dropped > 0 ? ", \(net.dropped) dropped" : ""
        return "\(net.id) \(net.released) packets\(wait), \(net.held) held\(dropped)"
      }
    }
    return parts.joined(separator: ", ")
  }
}
