// Roles' tests: the real receiver against a source that plays recorded sessions, whole and broken,
// and the real sender against a destination that only listens.

import Foundation
import SessionReplay
import System
import TestSupport
import Testing
import Transport
import Wire

/// One connection of a fake source.
struct Line: Sendable {
  /// What a source does when it has written everything.
  enum End: Sendable {
    /// Closes at once.
    case close
    /// Leaves the connection open until the other side closes it, or has sent its verdict.
    case wait
    /// Resets it.
    case reset
  }

  /// What it writes.
  var bytes: [UInt8]
  /// Seconds before it connects, after the one before.
  var connectAfter = 0.0
  /// The address of 127.0.0.0/8 that it comes from.
  var from: String?
  /// Seconds between connecting and writing.
  var writeAfter = 0.0
  /// Bytes of one write.
  var chunk = 1...65536
  /// What comes after them.
  var end = End.wait
  /// Whether what the other side says is read; if not, ``FakeSource/hear(_:)`` begins to.
  var hears = true

  /// A connection that writes these bytes.
  init(_ bytes: [UInt8], end: End = .wait) {
    self.bytes = bytes
    self.end = end
  }

  /// The lines of a session, the main channel first, as a source opens them.
  static func of(_ session: Fixtures.Session) throws -> [Line] {
    let script = try StreamScript(session)
    // Without return path a source has nothing to wait for.
    let main = Line(script.main, end: script.decoder.returnPathRequested ? .wait : .close)
    return [main] + script.channels.map { Line($0.bytes) }
  }
}

/// Plays lines to a receiver, each in a thread of its own, and hears what comes back.
final class FakeSource: Sendable {
  /// What a connection got from the other side.
  struct Heard: Sendable {
    var bytes: [UInt8] = []
    /// The other side has closed, or reset, the connection.
    var closed = false
    /// What the manifest said when the verdict came.
    var stateAtVerdict: String?
  }

  private let threads = ThreadGroup()
  private let manifest: String
  /// Connections that are not heard.
  private let deaf: System.Monitor<Set<Int>>
  private let state: System.Monitor<(heard: [Heard], open: [Int: Int32])>

  /// Connects all lines to `endpoint`, in order.
  ///
  /// - Parameter manifest: a file that is looked at when a verdict comes.
  init(_ lines: [Line], to endpoint: Endpoint, manifest: String = "", seed: UInt64 = 1) {
    state = System.Monitor((lines.map { _ in Heard() }, [:]))
    self.manifest = manifest
    deaf = System.Monitor(Set(lines.indices.filter { !lines[$0].hears }))
    // A source has opened all its channels when its main channel comes to the first sync point, on
    // which the receiver relies, and ends none before the main channel has spoken: so all are
    // connected first, and the first line says its first word, unless some are to be late.
    let isHeld = lines.dropFirst().allSatisfy { $0.connectAfter == 0 }
    try! threads.start("fake source") { [state, threads] in
      func write(_ index: Int, _ line: Line, to descriptor: Int32) {
        try! threads.start("fake \(index)") {
          Self.write(line, to: descriptor, seed: seed &+ UInt64(index))
        }
      }
      var connected: [(index: Int, descriptor: Int32)] = []
      for (index, line) in lines.enumerated() {
        if line.connectAfter > 0 { Thread.sleep(forTimeInterval: line.connectAfter) }
        guard let descriptor = Self.connect(endpoint, from: line.from) else {
          state.update { $0.heard[index].closed = true }
          continue
        }
        state.update { $0.open[index] = descriptor }
        if isHeld {
          connected.append((index, descriptor))
        } else {
          write(index, line, to: descriptor)
        }
        if line.hears { Self.hear(index, descriptor, manifest, state, threads) }
      }
      for (index, descriptor) in connected {
        var line = lines[index]
        // Enough to be known by. Only where another one ends: it comes in pieces otherwise.
        let isNeeded = lines.dropFirst().contains { $0.end != .wait }
        if index == 0, isNeeded, line.writeAfter == 0 {
          let word = line.bytes.prefix(1024)
          Sockets.write(descriptor, word)
          line.bytes = Array(line.bytes.dropFirst(word.count))
        }
        write(index, line, to: descriptor)
      }
    }
  }

  private static func hear(
    _ index: Int, _ descriptor: Int32, _ manifest: String,
    _ state: System.Monitor<(heard: [Heard], open: [Int: Int32])>, _ threads: ThreadGroup
  ) {
    try! threads.start("hear \(index)") {
      listen(on: descriptor, manifest) { body in state.update { body(&$0.heard[index]) } }
    }
  }

  /// Reads from here on what a connection gets that has not read so far.
  func hear(_ index: Int) {
    guard deaf.update({ $0.remove(index) }) != nil,
      let descriptor = state.read({ $0.open[index] })
    else { return }
    Self.hear(index, descriptor, manifest, state, threads)
  }

  /// Closes a connection, whatever was not read of it. Its number is another one's from here on.
  func drop(_ index: Int) {
    state.update { state in
      if let descriptor = state.open.removeValue(forKey: index) { Glibc.close(descriptor) }
      state.heard[index].closed = true
    }
  }

  /// Resets a connection.
  func reset(_ index: Int) {
    guard let descriptor = state.read({ $0.open[index] }) else { return }
    Self.reset(descriptor)
    state.update { $0.heard[index].closed = true }
  }

  /// To connect to nowhere takes a connection down with a reset; the descriptor stays ours.
  private static func reset(_ descriptor: Int32) {
    var nowhere = sockaddr()
    nowhere.sa_family = sa_family_t(AF_UNSPEC)
    Glibc.connect(descriptor, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
  }

  private static func connect(_ endpoint: Endpoint, from source: String?) -> Int32? {
    switch endpoint {
    case .tcp(let host, let port): Sockets.connect(host: host, port: Int(port), from: source)
    case .unix(let path): Sockets.connect(unix: path)
    case .fd: nil
    }
  }

  private static func write(_ line: Line, to descriptor: Int32, seed: UInt64) {
    if line.writeAfter > 0 { Thread.sleep(forTimeInterval: line.writeAfter) }
    var generator = SeededGenerator(seed: seed)
    var rest = line.bytes[...]
    while !rest.isEmpty {
      let count = Int.random(in: line.chunk, using: &generator)
      guard Sockets.write(descriptor, rest.prefix(count)) else { break }
      rest = rest.dropFirst(count)
    }
    switch line.end {
    case .wait: break
    case .close: shutdown(descriptor, Int32(SHUT_WR))
    case .reset: reset(descriptor)
    }
  }

  private static func listen(
    on descriptor: Int32, _ manifest: String, _ note: ((inout Heard) -> Void) -> Void
  ) {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Sockets.read(descriptor, &buffer)
      if count == 0 { break }
      let bytes = buffer.prefix(count)
      note { heard in
        heard.bytes += bytes
        guard case .shut = heard.messages.last else { return }
        let json = FileManager.default.contents(atPath: manifest)
          .flatMap { try? JSONSerialization.jsonObject(with: $0) as? [String: Any] }
        heard.stateAtVerdict = json?["state"] as? String
        // The verdict is what a source waits for.
        shutdown(descriptor, Int32(SHUT_WR))
      }
    }
    note { $0.closed = true }
  }

  /// Waits until a connection was closed by the other side.
  func waitClosed(_ index: Int) -> Bool {
    state.wait(seconds: 20) { $0.heard[index].closed ? true : nil } ?? false
  }

  /// Ends whatever is still going on.
  ///
  /// - Parameter seconds: how long the other side's end of each connection is waited for.
  /// - Returns: by connection, what was heard.
  @discardableResult
  func end(within seconds: Double = 2) -> [Heard] {
    for index in deaf.read({ $0 }) { hear(index) }
    // What the receiver has said before it closed is heard to its end first.
    for index in state.read({ $0.heard.indices }) {
      _ = state.wait(seconds: seconds) { $0.heard[index].closed ? true : nil }
    }
    let heard = state.read { $0.heard }
    for descriptor in state.read({ $0.open.values }) { shutdown(descriptor, Int32(SHUT_RDWR)) }
    threads.joinAll()
    threads.joinAll()  // those that the first one started
    for descriptor in state.read({ $0.open.values }) { close(descriptor) }
    return heard
  }
}

extension FakeSource.Heard {
  /// The return path's messages.
  var messages: [ReturnPathMessage] {
    var messages: [ReturnPathMessage] = []
    bytes.withUnsafeBytes { all in
      var at = 0
      while case .message(let message, let consumed) = try? ReturnPathMessage.decode(
        UnsafeRawBufferPointer(rebasing: all[at...]), at: UInt64(at))
      {
        messages.append(message)
        at += consumed
      }
    }
    return messages
  }
}
