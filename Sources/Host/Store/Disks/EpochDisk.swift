import Foundation
import Memory
import Synchronization
import System

/// A disk of a guest that is protected, as its standby has it.
///
///     syncing ---> synced ---> protected ---> lost
///        |  the first copy's     |  writes go to the epoch's log;
///        |  writes go to the     |  committed logs to the image,
///        '  image, counted       '  behind the running primary
///
/// What a primary has written and been told is written belongs to the checkpoint that comes next.
/// A checkpoint may be committed only if, since its guest was about to be stopped, the connection is
/// the one with which the protection began, no request on it has failed, and a FLUSH was answered on
/// it: a QEMU takes checkpoints also when the disk's connection is dead, and makes a new one behind
/// everybody's back, with a hole between the two.
///
/// Requests come from one thread (the connection's), checkpoints from another.
public final class EpochDisk: Sendable {
  /// How far a disk is.
  public enum Phase: String, Sendable {
    /// Not every block has come.
    case syncing
    /// Every block has come, or was there.
    case synced
    /// Writes belong to checkpoints.
    case protected
    /// No more checkpoints can be taken of it: see ``Status/reason``.
    case lost
  }

  /// What is known of a disk at a moment.
  public struct Status: Sendable {
    /// How far it is.
    public var phase: Phase
    /// Why it is lost.
    public var reason: String?
    /// Bytes that have come since the copy began.
    public var covered: Int
    /// Whether somebody is connected.
    public var isConnected: Bool
    /// The epoch that writes go to; 0 before the first.
    public var epoch: Int
    /// Bytes of its log.
    public var epochBytes: Int
    /// Bytes of logs that are committed and not in the image yet.
    public var backlog: Int
    /// Requests that have been answered.
    public var requests: Int
  }

  /// Why a request is not done.
  public enum RequestError: Error, Sendable {
    /// The file system of image or log is full.
    case full
    /// Anything else.
    case failed(String)
    /// It is lost, or not served any more.
    case closed
  }

  /// Why no checkpoint can be taken.
  public struct Loss: Error, Sendable {
    /// One line, without the disk's name.
    public let reason: String
    /// Its connection is gone, since then: that may be all of its primary, or only this. Nil: the
    /// primary has done, or been refused, something.
    public var disconnected: ContinuousClock.Instant?
  }

  struct State {
    var phase = Phase.syncing
    var reason: String?
    /// See ``Loss/disconnected``.
    var disconnected: ContinuousClock.Instant?
    /// Who is connected. Once a protection has begun nobody else ever is: who leaves takes the disk
    /// along.
    var ticket: Int?
    var nextTicket = 1
    /// It has asked for something.
    var isInUse = false
    /// Ends it.
    var giveWay: (@Sendable () -> Void)?
    /// Where writes go; nil before the protection.
    var log: DiskLog?
    /// Ready to be the next; and whether one is just being made.
    var spare: DiskLog?
    var isMaking = false
    /// Sealed and not committed.
    var sealed: DiskLog?
    /// Committed, the oldest first: on their way into the image.
    var committed: [DiskLog] = []
    var inFlight = 0
    var flushes = 0
    /// How many there were when the guest was about to be stopped.
    var flushesBefore = 0
    /// Its guest stands still: nothing is to come.
    var isStanding = false
    var requests = 0
    var isClosed = false

    var backlog: Int { committed.reduce(0) { $0 + $1.bytes } }
    var loss: Loss? {
      guard phase == .lost else { return nil }
      return Loss(reason: reason ?? "it is lost", disconnected: disconnected)
    }

    /// Something that the primary has written is not there. In a protection that loses it; before,
    /// it has to come again.
    mutating func miss(_ why: String) {
      switch phase {
      case .syncing, .lost: break
      case .synced: phase = .syncing
      case .protected: lose(why)
      }
    }

    /// The first reason counts.
    mutating func lose(_ why: String, disconnected: ContinuousClock.Instant? = nil) {
      guard phase != .lost else { return }
      (phase, reason, self.disconnected) = (.lost, why, disconnected)
    }
  }

  /// The name of its export.
  public let name: String
  /// The image.
  public let image: DiskImage
  let folder: DiskFolder
  let session: String
  let coverage: DirtyBitmap
  let coveredBlocks = Atomic(0)
  let mostBacklog: Int
  let state = Monitor(State())
  let threads = ThreadGroup()

  /// How a disk begins.
  public enum Start: Sendable {
    /// Nothing of what is in the image counts.
    case empty
    /// All that a standby which has died was told is written: as far as it had come.
    case adopting
    /// The image is what the primary's disk is.
    case trusted
  }

  /// Opens a disk.
  ///
  /// - Parameters:
  ///   - name: of the export.
  ///   - image: a path.
  ///   - folder: for the logs; nil: the image's path with `.epochs`.
  ///   - store: that will hold the guest.
  ///   - mostBacklog: bytes of logs behind the image from which on writes wait.
  ///   - log: gets a line where something is not as it was wished.
  public init(
    name: String, image: String, folder: String?, start: Start, store: String, mostBacklog: Int,
    log: (String) -> Void
  ) throws(StoreError) {
    self.name = name
    self.image = try DiskImage(image)
    self.mostBacklog = mostBacklog
    guard !self.image.isUsedByQEMU else {
      throw StoreError(
        .busy, "\(image) is the disk of a guest that runs in a QEMU here",
        hint: "a standby's image is nobody else's: give another one")
    }
    guard folder != nil || !self.image.isDevice else {
      throw StoreError(
        .foreign, "\(image) is a device: there is no place for logs beside it",
        hint: "say where: --disk \(name)=\(image),log=DIR")
    }
    self.folder = try DiskFolder(folder ?? self.image.path + ".epochs", create: true)
    let before = try self.folder.state()
    if start != .adopting, let before { try Self.expectFree(image, before) }
    var keeps = start == .adopting
    if keeps, before?.isAdoptable != true {
      log("disk '\(name)': nothing to adopt in \(self.folder.path): all of it has to come anew")
      keeps = false
    }
    try self.folder.redo(through: keeps ? nil : 0, to: self.image)
    session = UUID().uuidString
    var now = DiskState(session: session)
    now.store = wholePath(store)
    try self.folder.write(now)
    coverage = try self.folder.coverage(size: self.image.size, keep: keeps)
    if start == .trusted {
      cover(0..<self.image.size)
    } else {
      coveredBlocks.store(coverage.population, ordering: .relaxed)
    }
    if coveredBlocks.load(ordering: .relaxed) == coverage.count {
      state.update { $0.phase = .synced }
    }
  }

  deinit { close() }

  /// Makes sure that no guest can be continued with an image.
  private static func expectFree(_ image: String, _ state: DiskState) throws(StoreError) {
    let guest: String?
    do { guest = try state.guest() } catch {
      throw StoreError(
        .occupied,
        "\(image) belongs to the guest in \(state.store ?? ""), which cannot be looked at: \(error)",
        hint:
          "see to that, or remove that store; --adopt gives it up for a primary that has gone on")
    }
    guard let guest else { return }
    throw StoreError(
      .occupied,
      "\(image) belongs to the guest in \(guest), which can still be continued from there",
      hint: "fail over, or remove that store; --adopt gives it up for a primary that has gone on")
  }

  /// What is known of it now.
  public var status: Status {
    state.read { state in
      Status(
        phase: state.phase, reason: state.reason, covered: covered,
        isConnected: state.ticket != nil, epoch: state.log?.number ?? 0,
        epochBytes: state.log?.bytes ?? 0, backlog: state.backlog, requests: state.requests)
    }
  }

  var covered: Int {
    min(coveredBlocks.load(ordering: .relaxed) * DiskState.block, image.size)
  }

  // MARK: Connections

  /// A client has chosen the disk.
  ///
  /// One that has not asked for anything gives way to another: a QEMU whose connection has failed
  /// makes a new one in a thread of its own, for as long as it takes, and may forget about it. Such a
  /// connection would keep the disk from the mirror that is to go on.
  ///
  /// - Parameter giveWay: called when another one is served instead, from any thread.
  /// - Returns: what it is known by; nil where another one has it, or the disk is lost.
  public func attach(giveWay: @escaping @Sendable () -> Void = {}) -> Int? {
    let (ticket, before) = state.update { state -> (Int?, (@Sendable () -> Void)?) in
      let isOpen = !state.isClosed && (state.phase == .syncing || state.phase == .synced)
      guard isOpen, state.ticket == nil || !state.isInUse else { return (nil, nil) }
      let before = state.giveWay
      (state.ticket, state.isInUse, state.giveWay) = (state.nextTicket, false, giveWay)
      state.nextTicket += 1
      return (state.ticket, before)
    }
    before?()
    return ticket
  }

  /// A client asks for something, and from then on the disk is its own.
  ///
  /// - Returns: false where it has given way to another.
  public func use(_ ticket: Int) -> Bool {
    state.update { state in
      guard state.ticket == ticket else { return false }
      state.isInUse = true
      return true
    }
  }

  /// Whether it is served no more.
  public var isOver: Bool { state.read { $0.isClosed || $0.phase == .lost } }

  /// A client is gone.
  ///
  /// - Returns: false where it had given way to another before.
  @discardableResult
  public func detach(_ ticket: Int, _ why: String) -> Bool {
    state.update { state in
      guard state.ticket == ticket else { return false }
      (state.ticket, state.giveWay) = (nil, nil)
      if state.phase == .protected { state.lose(why, disconnected: .now) }
      return true
    }
  }
}
