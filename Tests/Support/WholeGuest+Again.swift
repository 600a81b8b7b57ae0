import Foundation

extension WholeGuest {
  /// What happens before the loss that is judged.
  public enum Prelude: String, Sendable, CaseIterable {
    /// Nothing.
    case none
    /// The process of `multifd protect` that does the work is killed: another one takes over.
    case takeover
    /// All of `multifd protect` is killed, and started again.
    case restart
    /// The standby is killed, and another one goes on with its images (`--adopt`).
    case adopt
    /// The standby is killed and its store removed: another one gets the disks anew.
    case anew
  }

  /// Lets it happen, and waits until checkpoints are taken again.
  public func play(_ prelude: Prelude) throws {
    switch prelude {
    case .none: return
    case .takeover, .restart:
      if prelude == .takeover {
        for child in protect?.process.children ?? [] { kill(child, SIGKILL) }
      } else {
        killProtect()
        Thread.sleep(forTimeInterval: .random(in: 0...0.5))
        try startProtect()
      }
      let before = checkpoint
      try waitCheckpoint(before + 3)
    case .adopt, .anew:
      signalStandby(SIGKILL)
      guard standby.process.wait(.seconds(10)) != nil else { throw LabError("it lives") }
      Thread.sleep(forTimeInterval: .random(in: 0...0.5))
      try startAgain(adopting: prelude == .adopt)
    }
    try waitHeard()
  }

  /// Kills both processes of `multifd protect`: the one that watches must not see the other's end.
  func killProtect() {
    guard let protect else { return }
    protect.process.kill(SIGSTOP)
    for child in protect.process.children { kill(child, SIGKILL) }
    protect.process.kill()
    _ = protect.process.wait(.seconds(10))
  }

  func startAgain(adopting: Bool) throws {
    let before = place
    // Whoever removes a store has to know what waits for its guest.
    if !adopting {
      before.clear()
      try FileManager.default.removeItem(atPath: store)
    }
    let place = try Self.place(setup, images, laterWire)
    let words = Self.standbysWords(
      setup, store, images, place, at: ports, logs: room?.path,
      (credentials?.arguments ?? []) + (backend?.arguments ?? []) + (adopting ? ["--adopt"] : []))
    let next = try MultiFDProcess(words, wrapper: setup.cable?.wrapper ?? [])
    processes.update { ($0.standby, $0.place) = (next, place) }
    let ready = next.process.errors.wait(.seconds(60)) {
      $0.text.hasPrefix("multifd: ready") ? true : nil
    }
    guard ready == true else {
      let said = ["query-migrate", "query-block-jobs"].map { command in
        (try? primary.qmp.execute(command, timeout: .seconds(3)).text) ?? "no answer"
      }
      throw LabError("not protected again: \(complaints) \(said.joined(separator: " "))")
    }
    try waitCheckpoint(1)
    let left = before.qemus
    before.clear()
    guard left.isEmpty else {
      throw LabError("QEMU \(left[0]) still waits for the guest that was given up")
    }
  }

  /// Waits until what the guest sends comes out again.
  func waitHeard() throws {
    let seen = wire.seen.packets.count
    guard wire.wait(.seconds(10), for: { $0.packets.count > seen + 5 ? true : nil }) == true else {
      throw Inconsistency("the guest is mute though it is protected again: \(complaints)")
    }
  }
}
