import Foundation
import Glibc
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
  }

  fileprivate struct State {
    var phase = Phase.syncing
    var reason: String?
    /// Who is connected; and who was when the protection began.
    var ticket: Int?
    var pinned: Int?
    var nextTicket = 1
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
  }

  /// The name of its export.
  public let name: String
  /// The image.
  public let image: DiskImage
  private let folder: DiskFolder
  private let session: String
  private let coverage: DirtyBitmap
  private let coveredBlocks = Atomic(0)
  private let mostBacklog: Int
  private let state = Monitor(State())
  private let threads = ThreadGroup()

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
    guard folder != nil || !self.image.isDevice else {
      throw StoreError(
        .foreign, "\(image) is a device: there is no place for logs beside it",
        hint: "say where: --disk \(name)=\(image),log=DIR")
    }
    self.folder = try DiskFolder(folder ?? self.image.path + ".epochs", create: true)
    let before = try self.folder.state()
    if start != .adopting, let before, let guest = before.guest {
      throw StoreError(
        .occupied,
        "\(image) belongs to the guest in \(guest), which can still be continued from there",
        hint: "fail over, or remove that store; --adopt gives it up for a primary that has gone on")
    }
    var keeps = start == .adopting
    if keeps, before?.isAdoptable != true {
      log("disk '\(name)': nothing to adopt in \(self.folder.path): all of it has to come anew")
      keeps = false
    }
    try self.folder.redo(through: keeps ? nil : 0, to: self.image)
    session = UUID().uuidString
    var now = DiskState(session: session)
    now.store = DiskFolder.absolute(store)
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

  /// What is known of it now.
  public var status: Status {
    state.read { state in
      Status(
        phase: state.phase, reason: state.reason, covered: covered,
        isConnected: state.ticket != nil, epoch: state.log?.number ?? 0,
        epochBytes: state.log?.bytes ?? 0, backlog: state.backlog, requests: state.requests)
    }
  }

  private var covered: Int {
    min(coveredBlocks.load(ordering: .relaxed) * DiskState.block, image.size)
  }

  // MARK: Connections

  /// A client has chosen the disk.
  ///
  /// - Returns: what it is known by; nil where another one has it, or the disk is lost.
  public func attach() -> Int? {
    state.update { state in
      guard state.ticket == nil, !state.isClosed, state.phase != .lost, state.pinned == nil else {
        return nil
      }
      state.ticket = state.nextTicket
      state.nextTicket += 1
      return state.ticket
    }
  }

  /// Whether it is served no more.
  public var isOver: Bool { state.read { $0.isClosed || $0.phase == .lost } }

  /// A client is gone.
  public func detach(_ ticket: Int, _ why: String) {
    state.update { state in
      guard state.ticket == ticket else { return }
      state.ticket = nil
      if state.phase == .protected { state.lose(why) }
    }
  }

  // MARK: Requests

  /// Reads; the range lies inside.
  public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(RequestError) {
    // The logs are kept by this thread for as long as it needs them: what the applier puts into the
    // image meanwhile is the same.
    let logs = state.update { state in
      state.requests += 1
      return state.committed + [state.sealed, state.log].compactMap(\.self)
    }
    do {
      try image.read(into: buffer, at: offset)
      for log in logs { try log.overlay(buffer, at: offset, size: image.size) }
    } catch { throw Self.failure(error) }
  }

  private enum Begun {
    /// In a log, or in the image where there is none.
    case at(DiskLog?)
    case closed
  }

  /// Writes; the range lies inside.
  ///
  /// - Parameter bytes: nil: the range is to read as zeroes.
  public func write(
    _ bytes: UnsafeRawBufferPointer?, at range: Range<Int>
  ) throws(RequestError) {
    // One that is too far behind is waited for; what is not committed does not count, for that waits
    // for what is not answered.
    let most = mostBacklog
    let begun = state.take(seconds: nil) { state -> Begun? in
      if state.isClosed || state.phase == .lost { return .closed }
      guard state.committed.isEmpty || state.backlog < most else { return nil }
      state.requests += 1
      if state.isStanding { state.lose("a write has come while the guest stood still") }
      state.inFlight += 1
      return .at(state.log)
    }
    guard case .at(let log) = begun else { throw .closed }
    let result = Result { () throws(SystemError) in
      if let log {
        _ = try log.append(bytes, at: range)
      } else if let bytes {
        try image.write(bytes, at: range.lowerBound)
      } else {
        try image.clear(range)
      }
    }
    if log == nil, case .success = result { cover(range) }
    state.update { state in
      state.inFlight -= 1
      if case .failure(let error) = result, state.phase == .protected {
        state.lose("a write has failed: \(error)")
      }
    }
    do { try result.get() } catch { throw Self.failure(error) }
  }

  /// Answers a FLUSH: the sign that the connection carries what the primary says. What is written is
  /// durable when its checkpoint is committed, and not before.
  public func flush() {
    state.update { state in
      state.requests += 1
      state.flushes += 1
    }
  }

  /// A request could not be understood, or not be answered.
  public func refuse(_ why: String) {
    state.update { if $0.phase == .protected { $0.lose(why) } }
  }

  private func cover(_ range: Range<Int>) {
    let block = DiskState.block
    let first = (range.lowerBound + block - 1) / block
    let last = range.upperBound == image.size ? coverage.count : range.upperBound / block
    guard first < last else { return }
    var new = 0
    for bit in first..<last where coverage.set(bit) { new += 1 }
    guard new > 0 else { return }
    let all = coveredBlocks.wrappingAdd(new, ordering: .relaxed).newValue
    if all == coverage.count {
      state.update { if $0.phase == .syncing { $0.phase = .synced } }
    }
  }

  private static func failure(_ error: SystemError) -> RequestError {
    [ENOSPC, EDQUOT, EFBIG].contains(error.errno) ? .full : .failed(error.description)
  }

  // MARK: Checkpoints

  /// Makes sure that a protection can begin.
  public func expectSynced() throws(Loss) {
    let (state, covered) = (state.read { $0 }, covered)
    switch state.phase {
    case .syncing:
      // Rounded down: what is not all is not 100 %.
      let percent = Int((Double(covered) / Double(image.size) * 100).rounded(.down))
      throw Loss(reason: "\(percent) % copied: wait until its mirror is actively synced")
    case .lost: throw Loss(reason: state.reason ?? "it is lost")
    case .synced, .protected: break
    }
    guard state.ticket != nil else { throw Loss(reason: "no mirror is connected") }
  }

  /// The guest is here as of the end of precopy, and stands still: from here on writes belong to
  /// checkpoints.
  ///
  /// - Returns: what the manifest says of the disk.
  public func protect() throws -> Manifest.Disk {
    try expectSynced()
    let log = try DiskLog(creating: 1, in: folder.folder)
    try threads.start("disk \(name)") { [self] in apply() }
    let reason = state.update { state -> String? in
      (state.phase, state.log, state.pinned) = (.protected, log, state.ticket)
      if state.inFlight > 0 || state.ticket == nil {
        state.lose("its connection was not quiet when the protection began")
      }
      return state.reason
    }
    // Nobody knows what that write does to the image yet: there is nothing to begin with.
    if let reason { throw Loss(reason: reason) }
    return Manifest.Disk(
      name: name, image: image.path, folder: folder.path, session: session, epoch: 0)
  }

  /// The primary is about to be told to stop its guest for a checkpoint.
  public func ask() { state.update { $0.flushesBefore = $0.flushes } }

  /// Its guest stands still: what has been written until now is the checkpoint's.
  ///
  /// - Returns: the epoch with which that ends.
  public func seal() throws -> Int {
    try makeSpare()
    let sealed = state.update { state -> Result<Int, Loss> in
      if state.phase == .lost { return .failure(Loss(reason: state.reason ?? "it is lost")) }
      guard let log = state.log, state.phase == .protected else {
        return .failure(Loss(reason: "it is not protected"))
      }
      if state.ticket == nil || state.ticket != state.pinned {
        state.lose("its connection has ended")
      } else if state.inFlight > 0 {
        state.lose("a write was not answered when the guest stood still")
      } else if state.flushes == state.flushesBefore {
        state.lose("no FLUSH has come on its connection before the checkpoint")
      }
      if state.phase == .lost { return .failure(Loss(reason: state.reason ?? "it is lost")) }
      state.sealed = log
      state.log = state.spare
      state.spare = nil
      state.isStanding = true
      return .success(log.number)
    }
    return try sealed.get()
  }

  /// Nothing has happened to it since it was sealed: its checkpoint may be committed.
  public func expectQuiet() throws(Loss) {
    let reason = state.read { $0.phase == .lost ? $0.reason ?? "it is lost" : nil }
    if let reason { throw Loss(reason: reason) }
  }

  /// The checkpoint is committed, and its guest is about to go on.
  public func committed() {
    state.update { state in
      state.isStanding = false
      if let sealed = state.sealed { state.committed.append(sealed) }
      state.sealed = nil
    }
  }

  /// Serves nothing any more, and puts into the image what is committed. Whoever is connected has to
  /// be told by others.
  public func close() {
    state.update { $0.isClosed = true }
    threads.joinAll()
  }

  /// Makes the log that comes next, or waits for whoever is just making it. Usually it is there: it is
  /// not to be made while the guest stands still.
  private func makeSpare() throws(StoreError) {
    let number = state.take(seconds: nil) { state -> Int?? in
      guard !state.isMaking else { return nil }
      guard state.spare == nil, let log = state.log else { return .some(nil) }
      state.isMaking = true
      return log.number + 1
    }
    guard case .some(.some(let number)) = number else { return }
    let made = Result { () throws(StoreError) in
      try DiskLog(creating: number, in: folder.folder)
    }
    state.update { state in
      state.isMaking = false
      state.spare = try? made.get()
    }
    _ = try made.get()
  }

  private enum Work {
    case apply(DiskLog)
    case makeSpare
    case end
  }

  /// Puts committed logs into the image, behind the running primary, and makes new ones ready.
  private func apply() {
    while true {
      let work = state.wait(seconds: nil) { state -> Work? in
        if let log = state.committed.first { return .apply(log) }
        if state.isClosed { return .end }
        return state.phase == .protected && state.spare == nil && !state.isMaking ? .makeSpare : nil
      }
      do {
        switch work ?? .end {
        case .apply(let log):
          try log.apply(to: image)
          image.startWriting()
          log.remove()
          state.update { _ = $0.committed.removeFirst() }
        case .makeSpare: try makeSpare()
        case .end: return
        }
      } catch {
        // What is committed stays in its log, and whoever opens the store next tries again.
        return state.update { state in
          state.lose("its image or its log cannot be written: \(error)")
          state.isClosed = true
        }
      }
    }
  }
}

extension EpochDisk.State {
  /// The first reason counts.
  fileprivate mutating func lose(_ why: String) {
    guard phase != .lost else { return }
    (phase, reason) = (.lost, why)
  }
}
