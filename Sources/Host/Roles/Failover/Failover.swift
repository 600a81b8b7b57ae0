import COLO
import Foundation
import Glibc
import Memory
import Store
import Transport

/// A stock QEMU continues a guest from a store, on the RAM that is already there.
///
///     fence (must exit 0) -> the store says "handing-over" -> QEMU maps the RAM files, -incoming defer
///       -> device state and ROM blocks over a UNIX socket -> QEMU says SHUT 0, runs -> "handed-over"
///
/// Its time does not grow with the guest: nothing of the mapped RAM is read, copied or sent.
public final class Failover {
  private let options: FailoverOptions
  private let log: (String) -> Void

  /// A failover that has not begun.
  ///
  /// - Parameter log: gets a line for everything that happens, QEMU's events among them.
  public init(_ options: FailoverOptions, log: @escaping (String) -> Void) {
    self.options = options
    self.log = log
  }

  /// What a failover amounted to.
  public struct Summary: Codable, Sendable {
    /// `failed-over`.
    public var result = "failed-over"
    /// The new QEMU.
    public var pid: Int32
    /// The checkpoint it continues from; nil for a guest that was simply held.
    public var checkpoint: Int?
    /// Milliseconds from the start of QEMU, or of feeding the spare, to `running`.
    public var totalTime: Double
    /// Milliseconds of it in which the stream was sent and loaded.
    public var loadTime: Double
    /// What its monitor says: `running`, or `paused` for a guest that was not running.
    public var status: String
    /// Blocks that QEMU has mapped from the store.
    public var mapped: [String]

    enum CodingKeys: String, CodingKey {
      case result, pid, checkpoint, status, mapped
      case totalTime = "total-time"
      case loadTime = "load-time"
    }
  }

  /// Starts a QEMU that waits: it has mapped the RAM files of a store and needs only the devices.
  ///
  /// - Parameter blocks: of the store's manifest.
  public func makeSpare(_ blocks: [Manifest.Block]) throws -> SpareQEMU {
    let path = try absolute(options.store)
    return try SpareQEMU(
      options.command, store: path, blocks: blocks, timeout: options.timeout, log: log)
  }

  /// Continues the guest.
  ///
  /// - Parameter spare: a QEMU that waits already.
  public func run(spare: SpareQEMU? = nil) throws(Failure) -> Summary {
    var hasGuest = false
    do {
      try fence()
      let start = ContinuousClock.now
      let guest = try HeldGuest(openingStore: options.store, force: options.force)
      guard guest.manifest.state != .handedOver || options.force else {
        throw Failure(.failed, "failover", "the guest was handed over")
      }
      func putBack() throws {
        // Nothing has run: the guest is ours as before.
        try guest.store.write(guest.manifest)
        if let number = guest.checkpoint {
          guest.store.note(state: "\(StandbyState.lost(number))")
        }
      }
      if let number = guest.checkpoint {
        guest.store.note(state: "\(StandbyState.failingOver(number))")
      }
      var manifest = guest.manifest
      manifest.state = .handingOver
      manifest.handedOverTo = "failover on this machine"
      try guest.store.write(manifest)
      let qemu: SpareQEMU
      if let spare, spare.isAlive {
        qemu = spare
      } else {
        if spare != nil { log("the spare QEMU has ended; starting another") }
        do { qemu = try makeSpare(manifest.blocks) } catch {
          try putBack()
          throw error
        }
      }
      let loading = ContinuousClock.now
      do {
        try qemu.load(guest)
      } catch {
        qemu.kill()
        try putBack()
        throw error
      }
      hasGuest = true
      let status = try qemu.waitUntilRunning()
      qemu.forgetMigration()
      manifest.state = .handedOver
      manifest.handedOverTo = "failover to pid \(qemu.pid) at \(Date.now.formatted(.iso8601))"
      try guest.store.write(manifest)
      guest.store.note(state: "used")
      return Summary(
        pid: qemu.pid, checkpoint: guest.checkpoint,
        totalTime: (ContinuousClock.now - start) / .milliseconds(1),
        loadTime: (ContinuousClock.now - loading) / .milliseconds(1), status: status,
        mapped: qemu.mapped.sorted())
    } catch {
      // A spare that has got nothing would wait for ever.
      if let spare, !hasGuest, spare.isAlive { spare.kill() }
      throw Failure(error, at: "failover")
    }
  }

  private func absolute(_ path: String) throws -> String {
    guard let real = realpath(path, nil) else { throw SystemError("realpath") }
    defer { free(real) }
    return String(cString: real)
  }

  private func fence() throws {
    guard let command = options.fence else { return }
    try Fence(command: command, timeout: options.fenceTimeout).run { _ in }
    log("fence: '\(command)' succeeded")
  }
}
