// Standby: a reception that goes on: the secondary of a COLO primary.

import COLO
import Foundation
import Memory
import Migration
import Observe
import Store
import Synchronization
import System
import Transport
import Wire

/// The secondary of a stock COLO primary, from the end of precopy on: answers its messages, commits
/// its checkpoints.
///
///     primary                        standby
///     REQUEST            ->          waits until the cache has a free side
///                        <-  REPLY
///     stops its guest
///     VMSTATE_SEND, RAM  ->          pages go to the cache
///     device state       ->          written to the store, then one rename: committed
///                        <-  RECEIVED, LOADED in one piece
///     goes on                        the cache is copied to the guest's RAM files behind its back
///
/// Nothing runs here that would have to load, so LOADED follows at once.
final class Standby {
  private let socket: Socket
  private let store: Store
  private let stage: COLOStage
  private let session: Session
  private let watch: PrimaryWatch
  private let events: ReceiverEvents
  private let worker: RedoWorker
  private let disks: ProtectedDisks?
  private let control: ControlHost
  /// The last epoch of each disk that belongs to the checkpoint that is coming in.
  private var epochs: [String: Int] = [:]
  private let cacheIsMirror: Bool
  private(set) var state = StandbyState.precopy
  private var blob = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
  /// How long a protect may keep the primary's guest waiting before its first checkpoint, seconds. It
  /// takes a round trip.
  private static let word = 0.5
  private var replied = ContinuousClock.now
  private var sent = ContinuousClock.now
  /// Pages of precopy and of all checkpoints so far.
  private var pages = 0
  private let figures: StandbyFigures

  init(
    _ socket: Socket, _ store: Store, _ stage: COLOStage, _ session: Session,
    _ watch: PrimaryWatch, _ events: ReceiverEvents, _ disks: ProtectedDisks?,
    _ control: ControlHost, _ figures: StandbyFigures
  ) throws(SystemError) {
    self.figures = figures
    self.disks = disks
    self.control = control
    self.socket = socket
    self.store = store
    self.stage = stage
    self.session = session
    self.watch = watch
    self.events = events
    if case .mirror = stage.cache { cacheIsMirror = true } else { cacheIsMirror = false }
    worker = try RedoWorker(stage, store) { error in
      session.fail(Failure(error, at: "copying a checkpoint to the guest"))
    }
    store.note(state: "\(state)")
  }

  deinit {
    // Its thread keeps the stage and the store, and with it the lock, until it is told that nothing
    // more will come.
    worker.close()
    blob.deallocate()
  }

  /// Precopy is held: tells the primary, whose guest stands still until this has arrived.
  func ready(sourceListens: Bool) throws {
    stage.enterCOLO()
    pages = session.pages
    control.holdPackets(within: Self.word)
    var bytes = sourceListens ? ReturnPathMessage.shut(0).encode() : []
    bytes += COLOMessage.checkpointReady.encode()
    try socket.write(bytes)
    change(to: .ready)
    control.change(to: .protecting)
    worker.warm()
  }

  /// A message of the primary.
  func handle(_ message: COLOMessage) throws {
    switch message {
    case .checkpointRequest:
      let number = (state.lastCommitted ?? 0) + 1
      if cacheIsMirror || worker.hasRedone(number - 1) {
        try worker.waitFor(number - 1)
        try stage.stay()
      } else {
        try worker.waitFor(number - 2)
        stage.turn()
      }
      replied = .now
      session.openEpoch()
      disks?.ask()
      try socket.write(COLOMessage.checkpointReply.encode())
      change(to: .receiving(number))
    case .vmstateSend:
      sent = .now
      events.primaryStands(true)
      if case .receiving(let number) = state { control.mark(number) }
      try sealDisks()
    default:
      throw Failure(.corrupt, "main channel", "the primary sent \(message), which is ours to send")
    }
  }

  /// The device state begins; RAM is complete.
  ///
  /// - Parameter take: fills the buffer from the stream.
  func deviceState(
    size: Int, take: (UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    guard case .receiving(let number) = state else {
      throw Failure(.corrupt, "main channel", "device state outside a checkpoint")
    }
    if blob.count < size {
      blob.deallocate()
      blob = .allocate(byteCount: size, alignment: 4096)
    }
    let bytes = UnsafeMutableRawBufferPointer(rebasing: blob[..<size])
    try take(bytes)
    // A section from the first byte, and as the last six a footer and the end marker: a size that
    // was wrong shows here, before the checkpoint counts. Where sections meet in between cannot be
    // told for every device (SPECIFICATION section 5.1), so that is not asked.
    let whole =
      size == 1
      ? bytes[0] == 0 : size > 6 && bytes[0] == 4 && bytes[size - 6] == 0x7e && bytes[size - 1] == 0
    guard whole else {
      throw Failure(
        .corrupt, "checkpoint \(number)", "its device state does not end where its size says")
    }
    try session.closeEpoch()
    try commit(number, UnsafeRawBufferPointer(bytes))
  }

  private func commit(_ number: Int, _ bytes: UnsafeRawBufferPointer) throws {
    let complete = ContinuousClock.now
    change(to: .committing(number))
    // The record names one checkpoint, so whoever opens the store repeats one copy: all before it
    // must be done. They have been long ago, unless checkpoints come faster than their pages can be
    // copied.
    try worker.waitFor(number - 1)
    let cacheBytes = stage.cacheBytes
    let sealed = stage.seal()
    do { try disks?.expectQuiet() } catch let loss as DiskLoss { throw watch.lost(loss) }
    let now = Date().timeIntervalSince1970
    try store.commit(
      CheckpointRecord(
        number: number, side: sealed.side, entries: sealed.entries,
        deviceStateSize: UInt64(bytes.count), committedAt: now, disks: epochs),
      deviceState: bytes)
    disks?.committed()
    // What is answered after the guest has gone on may have been sent after that, too.
    let committed = ContinuousClock.now
    let marked = control.marked()
    let before = pages
    pages = session.pages
    // It counts, also if the primary does not live to hear of it.
    defer {
      change(to: .committed(number))
      control.release(marked, checkpoint: number)
      worker.enqueue(number, sealed)
      watch.noteCheckpoint(asked: replied)
      figures.add(
        number, at: now, pause: .now - replied, transfer: complete - sent,
        commit: committed - complete, pages: pages - before, cacheBytes: cacheBytes)
    }
    // Before the primary can go on: what is not known for certain counts as going on.
    events.primaryStands(false)
    try socket.write(
      COLOMessage.vmstateReceived.encode() + COLOMessage.vmstateLoaded.encode())
  }

  /// The primary is gone, or says what cannot be: waits until the guest's RAM is the last
  /// checkpoint's.
  ///
  /// - Returns: that checkpoint.
  func lose(because why: String) -> Int {
    let last = state.lastCommitted ?? 0
    // First: a late primary writes nowhere.
    disks?.close()
    control.change(to: .lost, checkpoint: last, reason: why)
    worker.close()
    change(to: .lost(last))
    return last
  }

  /// The guest stands still. Of a disk that is gone no checkpoint can be committed any more, but
  /// whether its primary is gone with it shows when the rest of this one is read, or does not come.
  private func sealDisks() throws {
    do { epochs = try disks?.seal() ?? [:] } catch let loss as DiskLoss {
      guard loss.disconnected != nil else { throw watch.lost(loss) }
    }
  }

  private func change(to next: StandbyState) {
    guard state.advance(to: next) else {
      let why = "it is \(state), and cannot be \(next) now"
      assertionFailure(why)
      return session.fail(Failure(.internalError, "standby", why))
    }
    figures.enter(state)
    // While this one lasts the guest stands still, and it lasts as long as writing it down would.
    if case .committing = state { return }
    store.note(state: "\(state)")
  }
}
