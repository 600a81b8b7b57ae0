import Migration
import System

extension Protector {
  /// Makes sure that a standby which was lost does not go on with the guest; returns when that is
  /// sure. Until then the guest's packets are held, and where it stands still it goes on standing.
  /// Nothing is done where no standby has been given the guest since the last time.
  ///
  /// - Parameter loss: why the standby is no use any more.
  func fence(_ loss: Failure) throws(ProtectEnd) {
    guard let command = options.fence, isStandbyGiven.read({ $0 }) else { return }
    try expectQEMU()
    state.fence(loss.description)
    log("\(loss.description): '\(command)' has to make sure that the standby does not go on")
    let fence = Fence(
      command: command, timeout: options.fenceTimeout, peer: "standby",
      otherwise: "the guest does not go on")
    var last = ""
    while true {
      try state.checkFinal()
      do {
        defer { state.disown() }
        try fence.run { try state.adopt($0) }
        break
      } catch {
        try state.checkFinal()
        if last != "\(error)" { log("\(error); it is tried again every second") }
        last = "\(error)"
      }
      state.pause(seconds: 1)
    }
    log("fence: '\(command)' succeeded")
    isStandbyGiven.update { $0 = false }
  }

  /// Makes sure that there is a QEMU whose guest could go on alone. Where it has died with its
  /// guest the standby has the only one that there is, and it is that which would be fenced; and one
  /// that answers nobody could not be let go on.
  private func expectQEMU() throws(ProtectEnd) {
    let deadline = ContinuousClock.now + .seconds(Self.longest)
    while true {
      do {
        _ = try askYank("query-yank", within: silence)
        return
      } catch {
        switch error.kind {
        case .refused: return
        case .silent where .now < deadline: break
        case .silent, .closed: throw .gone(error.failure)
        }
        try state.checkFinal()
        Pause.short()
      }
    }
  }
}
