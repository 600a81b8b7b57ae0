import Foundation

/// A guest under the protection of a stock COLO secondary, with relays between the two QEMUs.
public final class StockPair: Sendable {
  /// The primary.
  public let primary: QEMU
  /// The secondary.
  public let secondary: QEMU
  /// The checkpoints.
  public let session: COLOSession
  private let chain: RelayChain
  private let folder: TemporaryFolder

  /// Protects the guest of `primary`; returns when checkpoints are being taken.
  ///
  /// - Parameters:
  ///   - setup: of both QEMUs.
  ///   - compressions: what each relay is told, the one next to the primary first.
  public init(_ primary: QEMU, _ setup: MigrationSetup, through compressions: [String?]) throws {
    self.primary = primary
    folder = try TemporaryFolder()
    secondary = try QEMU(primary.version, primary.machine, incoming: "defer")
    try setup.apply(to: secondary, .destination)
    chain = try RelayChain(to: try secondary.listen(nil), compressions, sockets: folder)
    do { session = try COLOSession(primary, to: chain.entry, setup) } catch {
      throw LabError("\(error) \(chain.complaints) secondary: \(secondary.complaints)")
    }
  }

  /// What relays and secondary have said, shortened.
  public var complaints: String { "\(chain.complaints); secondary: \(secondary.complaints)" }

  /// Kills the primary, and has the secondary's guest go on.
  ///
  /// - Returns: how many pages the guest has checked.
  /// - Throws: when relays stay, or the guest is not what it was.
  public func failOver() throws -> Int {
    let checkpoints = session.checkpoints
    primary.killNow()
    // What the guest said since a checkpoint is not true any more; what it had said when it stopped
    // for the one before the last is.
    let certain = checkpoints.dropLast().last?.stopped
    let beats = primary.console.heartbeats
    let first = beats.last { beat in certain.map { beat.line.time <= $0 } ?? false }?.number ?? 0
    // Between two checkpoints a secondary runs its guest ahead, and the next one takes that back, a
    // panic of its kernel too. One in the last interval is not taken back: that guest is dead.
    let start = secondary.console.log.lines.count
    try secondary.qmp.execute("x-colo-lost-heartbeat")
    try secondary.waitRunning()
    try chain.expectProtected()
    guard let beat = secondary.console.waitHeartbeat(from: start, .seconds(60)) else {
      throw LabError("the secondary's guest does not beat: \(secondary.complaints)")
    }
    guard beat.number >= first else {
      throw LabError("the secondary's guest went back to heartbeat \(beat.number), from \(first)")
    }
    guard
      secondary.console.waitHeartbeat(atLeast: beat.number + 3, from: start, .seconds(60)) != nil
    else { throw LabError("the secondary's guest stopped beating after the failover") }
    return try secondary.checkMemory(from: start).pages
  }

  /// Ends all of it but the primary.
  public func end() {
    chain.end()
    secondary.terminate()
    folder.remove()
  }
}
