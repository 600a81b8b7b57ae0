import Foundation
import Glibc
import SessionReplay
import TestSupport
import Wire

/// A COLO primary: sends bursts over its connections, all at once as a real one does, and waits
/// where the protocol waits. At a given byte of one connection it dies: all connections are closed.
final class Primary {
  /// How a session ended for the primary, other than well.
  enum Ended: Error, Equatable {
    /// It has come to the byte at which it dies.
    case died
    /// The standby has closed a connection.
    case standbyGone
    /// The standby says nothing.
    case silence
    /// The standby says something else than is due.
    case unexpected([UInt8])
  }

  /// The last byte before it dies. If that is the last of a burst, the other connections' bytes are
  /// sent, too.
  struct Death {
    /// 0 is the main channel.
    var connection: Int
    var after: Int
  }

  /// The last checkpoint for which RECEIVED has come; nil before READY.
  private(set) var acknowledged: Int?
  /// Everything that the standby has said.
  private(set) var answers: [UInt8] = []
  private let script: PrimaryScript
  private let sockets: [Int32]
  private var sent: [Int]
  private let death: Death?
  private var generator: SeededGenerator
  private var open = true

  /// Connects: first the main channel, then the others.
  ///
  /// - Parameters:
  ///   - uri: `unix:PATH` or `tcp:127.0.0.1:PORT`.
  ///   - seed: for the sizes and the order of its writes.
  init(_ script: PrimaryScript, to uri: String, death: Death? = nil, seed: UInt64 = 0) throws {
    self.script = script
    self.death = death
    generator = SeededGenerator(seed: seed)
    var sockets: [Int32] = []
    for _ in 0...script.channelCount { sockets.append(try Self.connect(uri)) }
    self.sockets = sockets
    sent = sockets.map { _ in 0 }
  }

  deinit { close() }

  /// A connection to a standby.
  static func connect(_ uri: String) throws -> Int32 {
    let words = uri.split(separator: ":").map(String.init)
    let socket =
      words[0] == "unix"
      ? Sockets.connect(unix: words[1])
      : Sockets.connect(host: words[1], port: Int(words[2]) ?? 0)
    guard let socket else { throw LabError("nobody listens at \(uri)") }
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    Sockets.limit(socket, seconds: 20)
    return socket
  }

  /// Ends all connections, as the death of its process does. `defer { primary.close() }` also keeps
  /// them open until then: the compiler owes a value that is no longer used nothing.
  func close() {
    guard open else { return }
    open = false
    for socket in sockets { Glibc.close(socket) }
  }

  /// Ends one connection in order and keeps the others; 0 is the main channel.
  func end(_ connection: Int) { shutdown(sockets[connection], Int32(SHUT_RDWR)) }

  /// Resets one connection.
  func reset(_ connection: Int) {
    // To connect to nowhere takes a connection down with a reset; the descriptor stays ours.
    var nowhere = sockaddr()
    nowhere.sa_family = sa_family_t(AF_UNSPEC)
    Glibc.connect(sockets[connection], &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
  }

  // MARK: The protocol

  /// The whole session up to a checkpoint; the connections stay open.
  func play(upTo last: Int) throws {
    try precopy()
    for number in stride(from: 1, through: last, by: 1) { try checkpoint(number) }
  }

  /// Migrates, and waits for READY.
  func precopy() throws {
    try send(script.precopy)
    try awaitReady()
  }

  /// The rest of the migration's main channel, and READY.
  func finishPrecopy(_ main: [UInt8]) throws {
    try send(main: main)
    try awaitReady()
  }

  private func awaitReady() throws {
    if script.listens { try awaitShut() }
    try expect(.checkpointReady)
    acknowledged = 0
  }

  /// A whole checkpoint; the first is 1.
  func checkpoint(_ number: Int) throws {
    try request()
    try send(script.checkpoints[number - 1])
    try expectAcknowledgement(number)
  }

  /// REQUEST, and the answer.
  func request() throws {
    try send(main: COLOMessage.checkpointRequest.encode())
    try expect(.checkpointReply)
  }

  /// RECEIVED and LOADED.
  func expectAcknowledgement(_ number: Int) throws {
    try expect(.vmstateReceived)
    acknowledged = number
    try expect(.vmstateLoaded)
  }

  /// Waits for a message.
  func expect(_ message: COLOMessage) throws {
    let bytes = try read(COLOMessage.size)
    guard bytes == message.encode() else { throw Ended.unexpected(bytes) }
  }

  /// Return path frames up to SHUT 0.
  private func awaitShut() throws {
    while true {
      let head = try read(4)
      let payload = try read(Int(head[2]) << 8 | Int(head[3]))
      guard head[0] == 0, [1, 2, 7].contains(head[1]) else { throw Ended.unexpected(head) }
      guard head[1] == 1 else { continue }
      guard payload == [0, 0, 0, 0] else { throw Ended.unexpected(head + payload) }
      return
    }
  }

  /// Reads exactly so many bytes of the main channel.
  func read(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      var buffer = [UInt8](repeating: 0, count: count - bytes.count)
      let got = Sockets.receive(sockets[0], &buffer)
      if got < 0, errno == EAGAIN { throw Ended.silence }
      guard got > 0 else { throw Ended.standbyGone }
      bytes += buffer[..<got]
    }
    answers += bytes
    return bytes
  }

  /// Waits until the standby has closed the main channel.
  ///
  /// - Returns: what it said before.
  func readToEnd() -> [UInt8] {
    var all: [UInt8] = []
    while let byte = try? read(1) { all += byte }
    return all
  }

  // MARK: Sending

  /// Sends bytes on the main channel only.
  func send(main: [UInt8]) throws {
    try send(PrimaryScript.Burst(main: main, channels: script.precopy.channels.map { _ in [] }))
  }

  /// Sends over all connections, in pieces of all sizes, in a mixed order.
  func send(_ burst: PrimaryScript.Burst) throws {
    let pieces = [burst.main] + burst.channels
    var done = pieces.map { _ in 0 }
    let deadline = ContinuousClock.now + .seconds(20)
    while true {
      let left = pieces.indices.filter { done[$0] < pieces[$0].count }
      if let death, sent[death.connection] >= death.after,
        left.isEmpty || left.contains(death.connection)
      {
        close()
        throw Ended.died
      }
      guard !left.isEmpty else { return }
      var entries = left.map { pollfd(fd: sockets[$0], events: Int16(POLLOUT), revents: 0) }
      guard poll(&entries, nfds_t(entries.count), 1000) >= 0 || errno == EINTR else {
        throw LabError("poll: \(errno)")
      }
      guard ContinuousClock.now < deadline else { throw Ended.silence }
      for (index, entry) in zip(left, entries).shuffled(using: &generator)
      where entry.revents != 0 {
        var count = min(
          pieces[index].count - done[index],
          Int.random(in: 1...(1 << Int.random(in: 0...17, using: &generator)), using: &generator))
        if let death, death.connection == index { count = min(count, death.after - sent[index]) }
        guard count > 0 else { continue }
        let written = pieces[index].withUnsafeBytes {
          // Inside the array, which does not change.
          Glibc.send(
            sockets[index], $0.baseAddress! + done[index], count,
            Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        if written < 0 {
          if errno == EAGAIN || errno == EINTR { continue }
          throw Ended.standbyGone
        }
        done[index] += written
        sent[index] += written
      }
    }
  }
}
