import Foundation
import Glibc
import Memory
import Migration
import Store
import System
import Transport

/// A stock QEMU that has the RAM files of a store mapped, has taken everything but the devices, and
/// waits for them.
public final class SpareQEMU {
  /// How that went.
  public let rehearsal: Rehearsal
  /// Its process.
  public var pid: pid_t { process.child.pid }
  var child: Child { process.child }
  /// Blocks that it has mapped.
  var mapped: [String] { rehearsal.mapped }
  private let process: WaitingQEMU
  private let stream: FailoverStream
  private let manifest: Manifest

  /// Starts one, and feeds it what comes before the devices.
  ///
  /// - Parameters:
  ///   - earlyState: of the guest.
  ///   - pages: gives a block whose pages are to be sent already; nil: none are, for the guest
  ///     comes at once.
  ///   - process: it, just started.
  init(
    _ process: WaitingQEMU, _ manifest: Manifest, earlyState: [UInt8],
    pages: ((Manifest.Block) throws -> RAMBlock)?
  ) throws {
    let start = ContinuousClock.now
    do {
      let fit = try process.fit(manifest.blocks)
      stream = FailoverStream(try process.listen(), manifest, streamed: fit.streamed)
      let now = manifest.blocks.filter {
        fit.streamed.contains($0.name) && !fit.withheld.contains($0.name)
      }
      try stream.begin(earlyState: earlyState, pages: pages.map { try now.map($0) } ?? [])
      rehearsal = Rehearsal(
        fit, streamedBytes: stream.streamedBytes,
        time: (ContinuousClock.now - start) / .milliseconds(1) + process.startTime)
    } catch {
      let error = process.explained(error)
      process.kill()
      throw error
    }
    self.process = process
    self.manifest = manifest
  }

  /// Makes sure that it waits for this guest and answers.
  func expectWaiting(for guest: Manifest) throws {
    guard process.child.isAlive else {
      throw process.explained(Failure(.failed, "qemu", "it has ended"))
    }
    guard guest.blocks == manifest.blocks, guest.machine == manifest.machine,
      guest.ramSection == manifest.ramSection, guest.heldAt == manifest.heldAt
    else { throw Failure(.failed, "qemu", "it waits for another guest") }
    let status = try process.status()
    guard status == "inmigrate" else {
      throw Failure(.failed, "qemu", "it is \(status), and should wait in inmigrate")
    }
  }

  /// Feeds once more what is not mapped: it has all but the devices then, and cannot start the
  /// guest.
  func loadRAM(of guest: HeldGuest) throws {
    do { try stream.endRAM(of: guest) } catch { throw process.explained(error) }
  }

  /// Feeds the devices, and waits until it says that it has the guest. It may start it before.
  func loadDevices(of guest: HeldGuest) throws {
    do { try stream.finish(guest) } catch { throw process.explained(error) }
  }

  /// It is going to have the guest: nobody may end it for an orphan.
  func disown() { process.disown() }

  /// Whether the guest runs in it, asked of its monitor when its answer has not come.
  ///
  /// A connection may have ended while it was still loading: it is given a moment.
  func hasGuest() -> Bool { (try? process.waitLoaded(1)) == "running" }

  /// Waits until the guest runs.
  ///
  /// - Parameter isProtected: it comes from a checkpoint, so it ran: COLO has its primary go on
  ///   after each. What a device state says is what was so when precopy began, and a guest that was
  ///   stopped for that would stay so here, with nobody who knows of it.
  /// - Returns: `running`, or what it was when the source stopped it.
  func waitUntilRunning(isProtected: Bool) throws -> String {
    let status = try process.waitLoaded(nil)
    guard isProtected, status == "paused" else { return status }
    try process.start()
    return try process.waitLoaded(nil)
  }

  /// Ends it.
  public func kill() { process.kill() }
}
