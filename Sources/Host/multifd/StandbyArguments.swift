import ArgumentParser
import Foundation
import Migration
import Observe
import Roles
import Store
import Transport

/// `multifd receive --colo` and what belongs to it.
struct StandbyArguments: ParsableArguments {
  @Flag(help: "Be the secondary of a COLO primary: take its checkpoints until it is lost.")
  var colo = false

  @Option(help: "Where pages of checkpoints in flight are kept: sparse (only those) or mirror.")
  var cache: Manifest.Cache = .sparse

  @Option(help: "Seconds without a checkpoint after which the primary is lost; default: never.")
  var checkpointTimeout: Double?

  @Option(
    help: ArgumentHelp(
      "Serve the guest's disks there, over NBD: tcp:HOST:PORT or unix:PATH.", valueName: "uri"))
  var disks: String?

  @Option(
    help: ArgumentHelp(
      "A disk: the name of its export and the raw image that keeps it; one for each.",
      discussion: """
        What the primary writes belongs to its checkpoints, in logs beside the image (log=DIR: elsewhere). trusted: \
        the image is what the primary's disk is already.
        """, valueName: "name=image[,log=dir][,trusted]"))
  var disk: [String] = []

  @Flag(
    help:
      "A standby of this primary has died, and the primary has gone on: keep what its disks had.")
  var adopt = false

  @Option(help: "How far images may be behind their committed logs before writes wait.")
  var diskBacklog = ByteSize(bytes: 1 << 30)

  @Option(help: "When the primary is lost: hold the guest, or failover into the QEMU after --.")
  var onLoss: LossPolicy.Action = .hold

  @Flag(help: "Start that QEMU when the standby is ready, and let it wait.")
  var spare = false

  @Flag(
    help: "Fail over without a --fence: a closed connection is taken for the primary's death.")
  var noFence = false

  @OptionGroup var failover: FailoverArguments

  func validate() throws {
    guard colo || (onLoss == .hold && !spare && checkpointTimeout == nil) else {
      throw ValidationError("--on-loss, --spare and --checkpoint-timeout belong to --colo")
    }
    guard colo || (disks == nil && disk.isEmpty && !adopt) else {
      throw ValidationError("--disks, --disk and --adopt belong to --colo")
    }
    guard (disks == nil) == disk.isEmpty else {
      throw ValidationError("--disks and --disk belong together: where, and which")
    }
    guard !adopt || disks != nil else { throw ValidationError("--adopt belongs to --disks") }
    for text in disk where DiskOptions.Disk(parsing: text) == nil {
      throw ValidationError(
        "--disk '\(text)': expected NAME=IMAGE[,log=DIR][,trusted], NAME of letters, digits and -._"
      )
    }
    guard onLoss == .failover || !noFence else {
      throw ValidationError("--no-fence belongs to --on-loss failover")
    }
    guard failover.fence == nil || !noFence else {
      throw ValidationError("--fence and --no-fence: give one of them")
    }
    guard onLoss == .hold || failover.fence != nil || noFence else {
      throw ValidationError(
        "--on-loss failover needs --fence: a primary that has closed its connection may run on. "
          + "If nothing can make sure, say --no-fence")
    }
    if onLoss == .failover || spare, failover.qemu.isEmpty {
      throw ValidationError("the QEMU command is missing: … -- qemu-system-x86_64 ARGS")
    }
    if let checkpointTimeout {
      try TimeOut.check(checkpointTimeout, "--checkpoint-timeout")
    }
  }

  /// What the operator has to know of --on-loss failover before it counts; nil where nothing is
  /// started by itself.
  var warning: String? {
    guard onLoss == .failover else { return nil }
    let ends =
      "a connection that is closed may be the primary's death, or its guest's power-off, "
      + "x-colo-lost-heartbeat, migrate_cancel"
    return noFence
      ? "no fence: \(ends); all of them start an older copy of the guest here"
      : "\(ends): the fence decides"
  }

  /// For the receiver.
  ///
  /// - Parameter insecure: see ``DiskOptions/insecure``.
  func options(insecure: Bool) throws(Failure) -> StandbyOptions {
    var options = StandbyOptions()
    if let disks {
      let listen: Endpoint
      do { listen = try Endpoint(parsing: disks) } catch { throw Failure(error, at: "disks") }
      guard listen.passed == nil else {
        throw Failure(.usage, "disks", "--disks takes tcp: or unix:")
      }
      var wanted = DiskOptions(listen: listen, disks: disk.compactMap(DiskOptions.Disk.init))
      wanted.insecure = insecure
      wanted.adopts = adopt
      wanted.mostBacklog = Int(clamping: diskBacklog.bytes)
      options.disks = wanted
    }
    options.cache = cache
    options.checkpointTimeout = checkpointTimeout
    return options
  }

  /// Waits until the worker's primary is lost, then does what --on-loss says.
  func run(
    _ guardian: Guardian, _ desk: FiguresDesk, _ leftovers: Leftovers, store: String, json: Bool,
    timeout: Double
  ) throws {
    let policy = LossPolicy(
      onLoss, failover.options(store: store, timeout: timeout), wantsSpare: spare,
      log: Console.note
    ) { rehearsal in
      Console.note("rehearsed: failover \(rehearsal)", hint: rehearsal.hint)
    }
    // Whichever of the two is going on: one that is over, or has not begun, ends at once.
    Signals.watch(onSecond: guardian.kill) {
      guardian.cancel($0, $1)
      policy.cancel($0, $1)
    }
    Workers.open(desk, for: guardian)
    defer { desk.close() }
    var wasReady = false
    let end = guardian.wait(
      onReady: { [onLoss] in
        wasReady = true
        if onLoss == .failover { desk.promise("failing-over") }
        Console.note("ready: the guest can be continued from \(store)")
        policy.ready()
      }, onStatus: desk.update)
    desk.outlive()
    // What could not be said in order counts from the moment in which the primary could know.
    guard end.isOrderly ? wasReady : guardian.isStandby, var cause = end.failure else {
      return try Workers.finish(guardian, end, leftovers, after: .precopy)
    }
    // Its lock goes with it.
    if !end.isOrderly { guardian.awaitEnd(within: timeout) }
    let settled = Result { () throws(Failure) in
      try policy.settle(cause, primaryStands: guardian.primaryStands)
    }
    // Not before: whoever reads our output may stand still.
    if !end.output.isEmpty { print(end.output) }
    if let summary = try settled.get() {
      if json { Console.json(summary) } else { print(summary) }
      throw ExitCode.failedOver
    }
    // A worker that waits for storage is not gone, and looking at the store would be to wait with
    // it.
    if end.isOrderly || guardian.isGone { leftovers.settle(&cause, after: .standby) }
    if onLoss == .failover, cause.cause == .workerFailed {
      let hint = cause.hint.map { $0 + "; " } ?? ""
      cause.hint = hint + "the primary's guest may go on: end it before 'multifd failover'"
    }
    throw cause
  }
}

extension LossPolicy.Action: ExpressibleByArgument {}

extension Manifest.Cache: ExpressibleByArgument {}

extension StandbyReport: CustomStringConvertible {
  /// The report for people.
  public var description: String {
    func times(_ name: String, _ times: Timings.Summary?) -> String {
      guard let times else { return "  \(name)  -" }
      return String(
        format: "  %@  mean %.2f, p50 %.2f, p99 %.2f, max %.2f ms", name, times.mean, times.p50,
        times.p99, times.max)
    }
    return """
      last checkpoint \(checkpoint)
      \(times("pause   ", pause))
      \(times("transfer", transfer))
      \(times("commit  ", commit))
        pages     \(pages), cache at most \(Console.bytes(UInt64(cachePeak)))
      """
  }
}
