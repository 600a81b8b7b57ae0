// Send: a held guest goes into a stock QEMU.

import Migration
import PluginLoader
import Store
import Synchronization
import Transport
import Wire

/// `multifd send`: a held guest goes into a stock QEMU that waits with `-incoming`.
///
///     connect main, then the channels in order (7.2 tells them apart by it)
///     channel: init           main: header, PING       -> PONG: it has all connections, and loads
///     channel: SYNC, pages …  main: START, zero pages, END, PING -> PONG: it has the RAM
///                             the store says "handing-over"
///                             main: devices, EOF       -> SHUT 0: it runs the guest
///                             the store says "handed-over"
///
/// Whatever does not fit (machine type, memory, UUID, channels, compression) shows before the
/// devices are sent, while the guest is in the store for certain. If this process or the connection
/// ends after that, nobody knows whether the guest runs, and the next `send` says so instead of
/// starting a second copy.
public final class Sender: Sendable {
  private let options: SendOptions
  private let loader: PluginLoader
  private let control: HandoverControl

  /// A hand-over that has not begun.
  ///
  /// - Parameters:
  ///   - onFailure: told of the first failure, because of which everything is being ended, from
  ///     whatever thread notices it.
  ///   - settled: told when the destination has said that it has the guest.
  public init(
    _ options: SendOptions, loader: PluginLoader,
    onFailure: @escaping @Sendable (Failure) -> Void = { _ in },
    settled: @escaping @Sendable () -> Void = {}
  ) {
    self.options = options
    self.loader = loader
    control = HandoverControl(
      timeout: options.timeout, onFailure: onFailure, settled: settled)
  }

  /// What it is doing now.
  public var status: RoleStatus {
    var status = RoleStatus(
      .send, phase: control.failure == nil ? control.stage.word : "failing")
    let facts = control.facts.withLock { $0 }
    (status.machine, status.ram, status.backends) = (facts.machine, facts.ram, facts.backends)
    status.channels = control.moved.withLock { $0 }.map { id, counters in
      RoleStatus.Channel(id, received: nil, sent: counters, format: facts.dialect.format)
    }
    return status
  }

  /// Ends a hand-over from outside: a signal.
  public func cancel(_ kind: Failure.Kind, _ why: String) { cancel(Failure(kind, "send", why)) }

  /// Ends it for any reason.
  public func cancel(_ failure: Failure) { control.fail { _ in failure } }

  /// Threads were left behind when it ended: one that is inside a backend which does not come back.
  public var hasLeftThreads: Bool { control.hasLeftThreads }

  /// Hands the guest over.
  public func run() throws(Failure) -> SendSummary {
    try Failure.check(options.timeout, "send")
    do {
      let guest = try HeldGuest(openingStore: options.store, force: options.force)
      let route = try SendRoute(options, pageSize: guest.manifest.pageSize, loader)
      return try SendAttempt(options, guest, route, control).run()
    } catch {
      // What has cut the connections says more than what came of that. What the store says, says
      // more still.
      throw error as? Failure ?? control.failure ?? Failure(error, at: "send")
    }
  }
}
