import Glibc
import Store

/// The store of a worker that could not say how it ended: looked at, put right, and told.
public struct Leftovers: Sendable {
  /// What the worker was doing with the store.
  public enum Role: Sendable {
    /// Filling it; "settled" when the guest is held and its source knows.
    case reception(isSettled: Bool)
    /// Handing its guest on.
    case handOver
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
      case (.reception, nil), (.reception, .receiving):
        // Nothing of it counts: the guest goes on at its source.
        try Store.prepare(store).sweep()
        // Only if nothing else is in it.
        if isNew { rmdir(store) }
      case (.reception(isSettled: false), .held):
        let (store, held) = try Store.open(store)
        var manifest = held
        manifest.state = .unsettled
        try store.write(manifest)
        failure.why += "; the guest is held, and its source may not have been told"
        failure.hint = "if the guest does not run at its source, send it from here with --force"
      case (.reception, .standby):
        failure.hint = "checkpoint \(status.checkpoint?.number ?? 0) is safe in \(store)"
      case (.handOver, .handingOver):
        failure.why += "; whether the guest runs there is not known"
        failure.hint =
          "look at the destination; if the guest does not run there, send again with --force"
      case (.reception(isSettled: true), .held), (.handOver, .held), (.handOver, .standby):
        failure.hint = "the guest is safe in \(store)"
      default: break
      }
    } catch {
      failure.why += "; its store could not be put right: \(error)"
    }
  }
}
