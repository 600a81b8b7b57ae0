import Migration
import Store
import System
import Transport
import Wire

/// The standby's side of a `multifd protect`: says how far it is, and when a guest's packets may
/// leave. One line at a time: whoever comes later takes the place of who was there, as a protect
/// that was started again does. One that looks first changes nothing for who is there.
final class ControlHost: Sendable {
  /// Why a guest is not to be revived.
  struct End {
    var why: String
    /// It goes on at the primary, alone; else it has ended by itself.
    var goesOn: Bool
  }

  private struct State {
    var line: ControlLine?
    /// Who has only been greeted: one at a time, too.
    var looking: ControlLine?
    var status = ControlStatus()
    /// The last mark that was set; the last that whoever is there has answered, and the last that
    /// was released.
    var mark = -1
    var marked = -1
    var released = 0
    /// When the last mark was set, and how long the last answer took: a guess before the first.
    var markedAt = ContinuousClock.now
    var answerTime = Duration.milliseconds(10)
    /// The guest is not to be revived.
    var ended: End?
    var isClosed = false
  }

  private let state = Monitor(State())
  private let threads = ThreadGroup()
  private let lines = ThreadGroup()
  private let disks: ProtectedDisks?
  private let store: String
  private let strangers: StrangerLog
  private let log: @Sendable (String) -> Void

  /// A host that nobody has come to.
  ///
  /// - Parameter store: where `multifd status` finds how far the disks are.
  init(
    _ disks: ProtectedDisks?, store: String, log: @escaping @Sendable (String) -> Void
  ) throws(SystemError) {
    (self.disks, self.store, self.log) = (disks, store, log)
    strangers = StrangerLog { log("control: \($0)") }
    try threads.start("control") { [self] in
      var noted: [DiskReport] = []
      while state.wait(seconds: ControlLine.beat, { $0.isClosed ? true : nil }) == nil {
        tell()
        let reports = disks?.reports ?? []
        // A note: a store that is full or not there yet does without, for now.
        if reports != noted, (try? DiskReport.write(reports, to: store)) != nil { noted = reports }
      }
    }
  }

  /// A protect has come, with its hello. For the lobby's thread: returns at once.
  func admit(_ socket: Socket, _ letter: [UInt8]) {
    let message = ControlMessage(letter.dropFirst(ControlHello.headSize))
    guard message?.version == 1 else { return socket.cut() }
    let line = ControlLine(socket)
    // Before anybody else says something on it. A new connection has room for that.
    do { try line.send(greeting) } catch { return line.cut() }
    let by = socket.encryption.map { " by \($0)" } ?? ""
    let looks = message?.look == true
    if looks {
      state.update { state -> ControlLine? in
        defer { state.looking = line }
        return state.looking
      }?.cut()
    } else {
      seat(line)
    }
    lines.joinEnded()
    do {
      try lines.start("control line") { [self] in
        if !looks { log("a protect has connected\(by)") }
        do {
          try line.receive { message in
            if message.look == false, state.read({ $0.looking === line }) {
              seat(line)
              log("a protect has connected\(by)")
            }
            take(message, from: line)
            return true
          }
        } catch {
          if state.read({ $0.line === line }) {
            log("control: \(Failure(error, at: "control").why)")
          }
        }
        leave(line)
      }
    } catch {
      leave(line)
      strangers.note(unserved: error)
    }
  }

  /// From now on it is this one that is told.
  private func seat(_ line: ControlLine) {
    let before = state.update { state -> ControlLine? in
      defer {
        // What another one has noted says nothing of what this one has: it is released what it
        // answers itself.
        (state.line, state.marked) = (line, -1)
        if state.looking === line { state.looking = nil }
      }
      return state.line
    }
    before?.cut()
  }

  private func leave(_ line: ControlLine) {
    line.cut()
    state.update { state in
      if state.line === line { state.line = nil }
      if state.looking === line { state.looking = nil }
    }
  }

  /// Whether a protect is there.
  var isConnected: Bool { state.read { $0.line != nil } }

  /// Why the guest is not to be revived, where a protect has said so: one that is there is given a
  /// moment.
  func ended(within seconds: Double) -> End? {
    state.wait(seconds: seconds) { state -> End?? in
      if let ended = state.ended { return .some(ended) }
      return state.line == nil ? .some(nil) : nil
    } ?? nil
  }

  /// How far the standby is.
  func change(to phase: ControlStatus.Phase, checkpoint: Int = 0, reason: String? = nil) {
    state.update { state in
      // What has ended before it came is another guest.
      if phase == .precopy { state.ended = nil }
      state.status.phase = phase
      state.status.checkpoint = checkpoint
      state.status.reason = reason
    }
    tell()
  }

  /// The guest stands still as of the end of precopy, and checkpoints will come: what it sends from
  /// here on has to wait for them.
  ///
  /// - Parameter seconds: how long a protect may take to say that it holds packets.
  func holdPackets(within seconds: Double) {
    guard isConnected else { return }
    mark(0)
    _ = state.wait(seconds: seconds) { $0.marked >= 0 || $0.line == nil ? () : nil }
  }

  /// The guest stands still for a checkpoint.
  func mark(_ number: Int) {
    state.update { ($0.mark, $0.markedAt) = (number, .now) }
    var message = ControlMessage()
    message.mark = number
    send(message)
  }

  /// The checkpoint is committed, and its guest still stands: what may be released, which is what
  /// has been answered.
  ///
  /// An answer that is on its way is waited for, about as long as the last one took, and not where
  /// that is far: a guest that has little to send is committed sooner than an answer can be here,
  /// and its packets would wait for the next checkpoint, too.
  func marked() -> Int {
    let (answerTime, markedAt) = state.read { ($0.answerTime, $0.markedAt) }
    let deadline = markedAt + answerTime * 2
    if answerTime <= Self.longestAnswer {
      let left = max(0, ContinuousClock.now.duration(to: deadline) / .seconds(1))
      _ = state.wait(seconds: left) { $0.marked == $0.mark || $0.line == nil ? () : nil }
    }
    return state.read { $0.marked }
  }

  /// From there on a guest had better go on: its packets wait longer then, and not it.
  private static let longestAnswer = Duration.milliseconds(50)

  /// A checkpoint is committed and the primary has been told: what was sent before a mark may
  /// leave.
  func release(_ number: Int, checkpoint: Int) {
    let isNew = state.update { state in
      state.status.checkpoint = checkpoint
      guard number > state.released else { return false }
      state.released = number
      return true
    }
    guard isNew else { return }
    var message = ControlMessage()
    message.release = number
    send(message)
  }

  /// Nobody is told anything more.
  func close() {
    let open = state.update { state in
      state.isClosed = true
      return [state.line, state.looking]
    }
    for line in open { line?.cut() }
    threads.joinAll()
    lines.joinAll()
  }

  private var greeting: ControlMessage {
    var message = ControlMessage()
    message.version = 1
    message.status = status
    return message
  }

  private var status: ControlStatus {
    var status = state.read { $0.status }
    status.disksURI = disks?.endpoint.description
    status.disks = (disks?.status ?? []).map { name, size, disk in
      ControlStatus.Disk(
        name: name, size: size, state: .init(rawValue: disk.phase.rawValue) ?? .lost,
        covered: disk.covered, reason: disk.reason)
    }
    return status
  }

  private func tell() {
    var message = ControlMessage()
    message.status = status
    send(message)
  }

  /// One that does not take what it is told has no use for it.
  private func send(_ message: ControlMessage) {
    guard let line = state.read({ $0.line }) else { return }
    do { try line.send(message) } catch { line.cut() }
  }

  private func take(_ message: ControlMessage, from line: ControlLine) {
    state.update { state in
      guard state.line === line else { return }
      // Only of one that was set: nobody can have noted what has not come.
      if let marked = message.marked, marked <= state.mark {
        state.marked = max(state.marked, marked)
        if marked == state.mark { state.answerTime = state.markedAt.duration(to: .now) }
      }
      if let ended = message.ended {
        state.ended =
          ended.isEmpty
          ? nil : End(why: String(ended.prefix(200)), goesOn: message.alone == true)
      }
    }
  }
}
