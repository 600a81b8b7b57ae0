import Migration
import Synchronization
import Wire

/// What a reception has to say of itself beside its connections.
struct ReceptionFigures: Sendable {
  var role = RoleStatus.Role.receive
  /// Known once the guest is held.
  var machine: String?
  /// Names of the backends that pages come through.
  var backends: @Sendable () -> [String] = { [] }
  /// What the method bits of packets mean.
  var dialect: @Sendable () -> PacketDialect = { .qemu }
  /// Adds what a standby has beyond that.
  var tell: @Sendable (inout RoleStatus) -> Void = { _ in }
}

extension Receiver {
  /// What it is doing now.
  public var status: RoleStatus {
    let figures = figures.withLock { $0 }
    let progress = session.progress(since: .now, pageSize: options.limits.pageSize)
    var status = RoleStatus(figures.role, phase: phase)
    status.machine = figures.machine
    (status.ram, status.remaining) = (progress.total, progress.remaining)
    if session.hasMain {
      let channels = session.channelCounters.map { ("\($0.id)", $0.counters) }
      let format = figures.dialect().format
      status.channels = ([("main", session.mainCounters)] + channels).map { id, counters in
        RoleStatus.Channel(id, received: counters, sent: nil, format: format)
      }
    }
    status.backends = figures.backends()
    status.strangers = strangers.count
    figures.tell(&status)
    return status
  }

  private var phase: String {
    guard session.hasMain else { return "listening" }
    if session.failure != nil { return "failing" }
    return session.isOver ? "held" : "receiving"
  }
}
