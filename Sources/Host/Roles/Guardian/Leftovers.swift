import Glibc
import Migration
import Store

/// The store of a worker that could not say how it ended: looked at, put right, and told.
public struct Leftovers: Sendable {
  /// What the worker was doing with the store.
  public enum Role: Sendable {
    /// Filling it; "settled" when the guest is held and its source knows, "arrived" when all of it
    /// has come from a source that waits for no verdict.
    case reception(isSettled: Bool, isArrived: Bool)
    /// Filling it with what was not ready to be a standby.
    case precopy
    /// Keeping checkpoints in it.
    case standby
    /// Handing its guest on; "settled" when its destination has said that it has it.
    case handOver(isSettled: Bool)
  }

  private let store: String
  /// The folder is the worker's making.
  private let isNew: Bool

  /// What will be in this folder. To be asked before the worker is started.
  public init(in store: String) {
    self.store = store
    isNew = access(store, F_OK) != 0
  }

  /// Puts the store right, and adds to the failure where the guest is now.
  public func settle(_ failure: inout Failure, after role: Role) {
    guard let status = try? Store.status(of: store) else { return }
    do {
      switch (role, status.manifest?.state) {
      case (.reception(isSettled: false, isArrived: true), .receiving),
        (.reception(isSettled: false, isArrived: true), nil):
        failure.noteArrived(in: store)
      case (.reception, nil), (.reception, .receiving), (.precopy, _):
        // Nothing of it counts: the guest goes on at its source.
        try Store.sweepAbandoned(store)
        // Only if nothing else is in it.
        if isNew { rmdir(store) }
      case (.reception(isSettled: false, _), .unsettled):
        failure.noteUntold()
      case (.reception, .held), (.reception, .unsettled):
        failure.why += "; the guest is held"
        try Store.settle(store)
      case (.standby, .standby):
        failure.note("checkpoint \(status.checkpoint?.number ?? 0) is safe in \(store)")
      case (.handOver(isSettled: true), .handingOver), (.handOver(isSettled: true), .handedOver):
        failure.why += "; the guest runs at its destination"
        failure.note("do not send or continue it from here again")
        try HandOver.wasTaken(in: store)
      case (.handOver, .handingOver):
        failure.why += "; whether the guest runs there is not known"
        failure.note(
          "look at the destination; if the guest does not run there, send again with --force")
      case (.handOver, .held), (.handOver, .standby):
        failure.note("the guest is safe in \(store)")
      default: break
      }
    } catch {
      failure.why += "; its store could not be put right: \(error)"
    }
  }
}
