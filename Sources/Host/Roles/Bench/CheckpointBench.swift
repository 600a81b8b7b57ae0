// Bench: what checkpoints cost a guest, next to a stock secondary.

import Foundation
import Glibc
import Migration
import Observe
import PluginLoader
import System
import Transport

/// `multifd bench checkpoint`: what COLO checkpoints cost a guest of a stock QEMU, with our standby
/// and with a stock secondary, in one run on one machine.
///
///     for each number of channels, for each load:
///       a fresh primary -> precopy -> N checkpoints to `receive --colo`   -> the primary is ended
///       a fresh primary -> precopy -> N checkpoints to a second QEMU      -> both are ended
public final class CheckpointBench: Sendable {
  private let options: CheckpointBenchOptions
  private let loader: PluginLoader
  private let log: @Sendable (String) -> Void
  private let failure = System.Monitor<Failure?>(nil)
  private let children = BenchChildren()

  /// - Parameter log: gets a line for everything that begins.
  public init(
    _ options: CheckpointBenchOptions, loader: PluginLoader,
    log: @escaping @Sendable (String) -> Void
  ) {
    self.options = options
    self.loader = loader
    self.log = log
  }

  /// Ends it from outside: a signal. QEMU's end makes whoever waits for it give up.
  public func cancel(_ kind: Failure.Kind, _ why: String) {
    failure.update { if $0 == nil { $0 = Failure(kind, "bench", why) } }
    children.killAll()
  }

  /// Measures every row.
  ///
  /// - Throws: when there is no primary to measure, or at a signal; what goes wrong in a row is
  ///   told there.
  public func run() throws(Failure) -> CheckpointTable {
    try Failure.check(options.timeout, "bench")
    var table = CheckpointTable(
      primary: "", secondary: nil, delay: options.delay, checkpoints: options.checkpoints,
      memory: options.guest.isEmpty ? options.memory : nil, compression: options.compression,
      rows: [])
    let secondaries: [CheckpointTable.Secondary] =
      options.secondary == nil ? [.multifd] : [.multifd, .stock]
    for channels in options.channels {
      for load in options.guest.isEmpty ? options.loads.map(Optional.some) : [nil] {
        for secondary in secondaries {
          var row = CheckpointTable.Row(channels: channels, load: load, secondary: secondary)
          log(
            "\(channels == 0 ? "plain" : "\(channels) channels"), \(row.loadText), "
              + "\(secondary.rawValue): \(options.checkpoints) checkpoints")
          do { try measure(&row, &table) } catch {
            if let failure = failure.read({ $0 }) { throw failure }
            let failure = Failure(error, at: "bench")
            guard !table.primary.isEmpty else { throw failure }
            row.failure = failure.description
          }
          table.rows.append(row)
        }
      }
    }
    return table
  }

  private func measure(_ row: inout CheckpointTable.Row, _ table: inout CheckpointTable) throws {
    let load = row.load.map { LoadGuest(rate: $0, workingSet: options.workingSet) }
    let folder = try PrivateFolder()
    // As long as a guest may be reset, it boots from there.
    defer { withExtendedLifetime(folder) {} }
    let kernel = folder.path + "/guest"
    try load?.image.write(to: URL(filePath: kernel))
    let machine = options.guest.isEmpty ? self.machine(kernel: kernel) : options.guest

    let primary = try start(options.primary, machine)
    table.primary = primary.version
    if let load {
      try load.waitReady(primary.monitor, timeout: options.timeout)
    } else {
      _ = failure.wait(seconds: options.settle) { $0 }
    }
    try primary.prepare(options, channels: row.channels)
    // Also of a primary that has stopped half-way.
    defer {
      primary.end()
      row.pause = Timings.summary(of: primary.pauses)
      let trace = primary.trace
      row.transfer = Timings.summary(of: trace.transfers)
      if row.secondary == .stock { row.commit = Timings.summary(of: trace.loads) }
    }
    switch row.secondary {
    case .multifd: try protectHere(primary, &row)
    case .stock:
      let secondary = try start(options.secondary!, machine + ["-incoming", "defer"])
      table.secondary = secondary.version
      try secondary.prepare(options, channels: row.channels)
      try withExtendedLifetime(secondary) {
        try primary.protect(to: try secondary.listen(), checkpoints: options.checkpoints)
      }
    }
  }

  private func start(_ command: [String], _ arguments: [String]) throws -> BenchQEMU {
    if let failure = failure.read({ $0 }) { throw failure }
    return try BenchQEMU(command, arguments, timeout: patience, children)
  }

  /// Seconds without a word of a QEMU: a checkpoint and what is before it.
  private var patience: Double { options.timeout + Double(options.delay) / 1000 }

  private func machine(kernel: String) -> [String] {
    ["-machine", "q35", "-m", "\(options.memory)M"]
      + options.accelerators.flatMap { ["-accel", $0] }
      + ["-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel]
  }

  /// Takes the checkpoints ourselves.
  private func protectHere(
    _ primary: BenchQEMU, _ row: inout CheckpointTable.Row
  ) throws {
    var template = Array("\(options.folder)/multifd-bench-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw Failure(.failed, "bench", "cannot make a folder in \(options.folder)")
    }
    let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var receive = ReceiveOptions(
      listen: .tcp(host: "127.0.0.1", port: 0), store: folder + "/store")
    receive.channels = row.channels
    receive.timeout = options.timeout
    var standby = StandbyOptions()
    standby.cache = options.cache
    let receiver = Receiver(receive, loader: loader)

    let place = System.Monitor<Result<Endpoint, Failure>?>(nil)
    let outcome = System.Monitor<Result<StandbyOutcome, Failure>?>(nil)
    let threads = ThreadGroup()
    try threads.start("standby") { [standby] in
      let result = Result { () throws(Failure) in
        try receiver.runStandby(
          standby,
          onListening: { endpoint in place.update { $0 = .success(endpoint) } },
          onProgress: { _ in },
          onReady: {})
      }
      outcome.update { $0 = result }
      // Whoever waits for it to listen waits no longer.
      if case .failure(let failure) = result { place.update { $0 = $0 ?? .failure(failure) } }
    }
    defer { threads.joinAll() }
    do {
      let endpoint = try place.wait(seconds: options.timeout) { $0 }?.get()
      guard let endpoint else { throw Failure(.failed, "standby", "it does not listen") }
      try primary.protect(to: endpoint, checkpoints: options.checkpoints)
      primary.end()
    } catch {
      let end = Failure(.failed, "receive", "the measurement has ended")
      receiver.cancel(end)
      // Why the standby let go says more than that the primary was alone then.
      if case .failure(let failure) = outcome.wait(seconds: options.timeout, { $0 }),
        failure != end
      {
        throw failure
      }
      throw error
    }
    guard let ended = outcome.wait(seconds: options.timeout, { $0 }) else {
      throw Failure(.failed, "standby", "it does not end")
    }
    let report = try ended.get().report
    row.commit = report.commit
    row.pages = report.checkpoint > 0 ? Double(report.pages) / Double(report.checkpoint) : nil
  }
}

extension CheckpointTable.Row {
  /// `idle`, `32 MiB/s`, or `own guest`.
  public var loadText: String {
    guard let load else { return "own guest" }
    return load == 0 ? "idle" : "\(load) MiB/s"
  }
}
