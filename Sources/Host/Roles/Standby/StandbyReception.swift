import COLO
import Memory
import Migration
import Store
import Transport
import Wire

/// A reception whose guest is a COLO primary's: after precopy it goes on with checkpoints.
final class StandbyReception: ReceptionDelegate {
  private let options: StandbyOptions
  private let watch: PrimaryWatch
  private let disks: ProtectedDisks?
  private let control: ControlHost
  /// What the manifest is to say of the disks.
  var manifestDisks: [Manifest.Disk]?
  /// There from the end of precopy on.
  var standby: Standby?

  init(
    _ options: StandbyOptions, _ watch: PrimaryWatch, _ disks: ProtectedDisks?,
    _ control: ControlHost
  ) {
    self.options = options
    self.watch = watch
    self.disks = disks
    self.control = control
  }

  /// Told before the primary stops its guest: what the stream shows of whether it is a COLO
  /// primary.
  func ramBegins(_ main: MainReceiver) throws {
    let decoder = main.decoder
    if decoder.coloEnabled && decoder.returnPathRequested {
      throw Failure(
        .refused, "main channel", "a COLO primary up to 10.2 cannot use return-path",
        hint: "turn off return-path at the primary: it would cut its own COLO connection")
    }
    guard decoder.coloEnabled || decoder.returnPathRequested else {
      throw Failure(
        .refused, "main channel", "the source is no COLO primary",
        hint: "turn on x-colo at the source (with QEMU 11 also return-path), or leave out --colo")
    }
    // Before its guest stands still for us.
    try disks?.expectSynced()
    control.change(to: .precopy)
  }

  func coloBegins() {}

  func makeCache(
    _ store: Store, _ blocks: [RAMBlock], pageSize: Int
  ) throws -> COLOStage.Cache {
    try CacheFiles(store, blocks, pageSize: pageSize).make(options.cache)
  }

  func describe(_ manifest: inout Manifest) {
    manifest.cache = options.cache
    manifest.boot = Manifest.thisBoot
    manifest.disks = manifestDisks
  }

  var isDurable: Bool { false }

  func coloMessage(_ message: COLOMessage) throws { try expected().handle(message) }

  func deviceState(size: Int, take: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
    try expected().deviceState(size: size, take: take)
  }

  private func expected() throws -> Standby {
    guard let standby else {
      throw Failure(.corrupt, "main channel", "a checkpoint before the end of precopy")
    }
    return standby
  }

  /// Between checkpoints a primary may be silent for as long as it likes.
  func arrive(_ missing: Int, at main: MainReceiver) throws -> Bool? {
    guard standby != nil else { return nil }
    let phase = main.decoder.phase
    let between = main.input.bytes.isEmpty && (phase == .idle || phase == .afterEOF)
    if try main.input.require(main.input.bytes.count + missing, idle: between) { return true }
    if let failure = main.session.failure { throw failure }
    guard between else {
      throw watch.ended("primary", "it closed the connection inside a checkpoint")
    }
    return false
  }

  /// Reads checkpoints, for as long as the primary sends them.
  ///
  /// - Throws: always: the way in which the primary was lost.
  func runCheckpoints(_ main: MainReceiver) throws {
    try main.decode { _ in true }
    throw watch.ended("primary", "it closed the connection")
  }
}
