import Foundation
import Migration
import Roles
import SessionReplay
import Store
import TestSupport
import Testing
import Wire

/// Who else connects, who is silent, and what is no COLO primary at all.
@Suite("Connections that are not the primary's", .beside)
struct NeighbourTests {
  static let script = SyntheticGuest.script(seed: 40, checkpoints: 5, pages: [200, 9])
  static let plain = SyntheticGuest.script(.plain, seed: 41, checkpoints: 5, pages: [200, 9])

  @Test(
    "A second primary is turned away, and the first does not notice",
    arguments: [script, plain], [script, plain])
  func secondPrimary(first: PrimaryScript, second: PrimaryScript) throws {
    let standby = try LocalStandby()
    let primary = try Primary(first, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    for _ in 0..<2 {
      let other = try Primary(second, to: standby.uri)
      defer { other.close() }
      #expect(throws: Primary.Ended.standbyGone) { try other.precopy() }
      other.close()
      try primary.checkpoint(primary.acknowledged! + 1)
    }
    try primary.request()
    // In the middle of a checkpoint, too.
    let other = try Primary(second, to: standby.uri)
    defer { other.close() }
    #expect(throws: Primary.Ended.standbyGone) { try other.precopy() }
    try primary.send(first.checkpoints[4])
    try primary.expectAcknowledgement(5)
    primary.close()
    #expect(try standby.outcome().report.checkpoint == 5)
    try StoreCheck.expect(standby.store, holds: 5, first)
  }

  @Test("Strangers are turned away, and those who say nothing")
  func strangers() throws {
    let standby = try LocalStandby()
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    var sockets: [Int32] = []
    for words in ["GET / HTTP/1.1\r\n\r\n", "Q", "", "\u{11}\u{22}\u{33}\u{44}", "QEVM"] {
      let socket = try Primary.connect(standby.uri)
      sockets.append(socket)
      Sockets.write(socket, Array(words.utf8))
    }
    for number in 2...5 { try primary.checkpoint(number) }
    for socket in sockets { close(socket) }
    primary.close()
    #expect(try standby.outcome().report.checkpoint == 5)
    try StoreCheck.expect(standby.store, holds: 5, Self.script)
  }

  @Test("--checkpoint-timeout: a primary that asks for no checkpoint is lost")
  func checkpointTimeout() throws {
    for last in [0, 2] {
      let standby = try LocalStandby(checkpointTimeout: 2)
      let primary = try Primary(Self.script, to: standby.uri)
      defer { primary.close() }
      try primary.play(upTo: last)
      let outcome = try standby.outcome()
      #expect(outcome.cause.kind == .unreachable && outcome.cause.peerIsGone)
      #expect("\(outcome.cause)" == "primary: no checkpoint for 2 s")
      // It is cut off, so that it cannot believe to be protected.
      #expect(primary.readToEnd() == [])
      try StoreCheck.expect(standby.store, holds: last, Self.script)
    }
  }

  /// Ways of not finishing a checkpoint.
  enum Stall: CaseIterable {
    case afterRequest, insidePacket, withoutSync, insideBlob
  }

  private func stall(_ primary: Primary, _ stall: Stall) throws {
    try primary.request()
    var burst = Self.script.checkpoints[1]
    switch stall {
    case .afterRequest: return
    case .insidePacket: burst.channels[0].removeLast(burst.channels[0].count / 2 + 7)
    case .withoutSync: burst.channels[1].removeLast(MultiFDPacketHeader.size(pageSize: 4096))
    case .insideBlob: burst.main.removeLast(40)
    }
    try primary.send(burst)
  }

  @Test(
    "With it, a primary that stalls inside a checkpoint is lost then, and not before",
    arguments: Stall.allCases)
  func silentInside(stall: Stall) throws {
    // Whichever of the two is longer. Precopy keeps to the first, on a machine that may stand still
    // for a moment.
    for (timeout, limit) in [(2.0, 3.0), (30.0, 2.0)] {
      let standby = try LocalStandby(checkpointTimeout: limit) { $0.timeout = timeout }
      let primary = try Primary(Self.script, to: standby.uri)
      defer { primary.close() }
      try primary.precopy()
      let start = ContinuousClock.now
      try primary.checkpoint(1)
      // It may be lost before it has said so much.
      do { try self.stall(primary, stall) } catch Primary.Ended.standbyGone {}
      let outcome = try standby.outcome()
      let time = start.duration(to: .now)
      #expect("\(outcome.cause)" == "primary: no checkpoint for \(Int(limit)) s")
      #expect(outcome.cause.kind == .unreachable && outcome.cause.peerIsGone)
      #expect(time > .seconds(limit * 0.8), "\(time)")
      try StoreCheck.expect(standby.store, holds: 1, Self.script)
    }
  }

  @Test("With it, bytes that trickle in are no checkpoint either")
  func trickle() throws {
    let standby = try LocalStandby(checkpointTimeout: 2)
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    do {
      try primary.request()
      for byte in Self.script.checkpoints[1].channels[0].prefix(200) {
        try primary.send(PrimaryScript.Burst(channels: [[byte]]))
        Thread.sleep(forTimeInterval: 0.03)
      }
      Issue.record("the standby has waited for ever")
    } catch Primary.Ended.standbyGone {}
    #expect("\(try standby.outcome().cause)" == "primary: no checkpoint for 2 s")
    try StoreCheck.expect(standby.store, holds: 1, Self.script)
  }

  @Test("A silence that is shorter than it is nothing, whatever --timeout says")
  func shorterSilence() throws {
    let standby = try LocalStandby(checkpointTimeout: 30) { $0.timeout = 2 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    try primary.request()
    Thread.sleep(forTimeInterval: 2.5)
    var burst = Self.script.checkpoints[1]
    let rest = Array(burst.main.suffix(40))
    burst.main.removeLast(40)
    try primary.send(burst)
    Thread.sleep(forTimeInterval: 2.5)
    try primary.send(main: rest)
    try primary.expectAcknowledgement(2)
    primary.close()
    #expect(try standby.outcome().report.checkpoint == 2)
  }

  @Test("Without it, a primary may take its time")
  func patience() throws {
    let standby = try LocalStandby { $0.timeout = 2 }
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    Thread.sleep(forTimeInterval: 2.6)
    for number in 2...5 { try primary.checkpoint(number) }
    primary.close()
    #expect(try standby.outcome().report.checkpoint == 5)
  }

  /// What the stream tells before the guest is stopped.
  @Test("--colo and a source that is no COLO primary, and the reverse: refused")
  func dialects() throws {
    // No ENABLE_COLO, no return path: an ordinary source.
    let ordinary = try #require(Fixtures.session("bios-72-main-only"))
    let colo = SyntheticGuest.script(.oldPlain, seed: 42, checkpoints: 1, pages: [20])
    do {
      let standby = try LocalStandby()
      let socket = try Primary.connect(standby.uri)
      defer { close(socket) }
      // As far as the first page: its guest still runs.
      Sockets.write(socket, try Fixtures.bytes(ordinary.main).prefix(20_000))
      let refusal = try standby.refusal()
      #expect(refusal.kind == .refused && "\(refusal)".contains("is no COLO primary"), "\(refusal)")
      #expect(SmallFileSystem.tree(standby.store) == [])
    }
    do {
      let standby = try LocalStandby(isStandby: false)
      let socket = try Primary.connect(standby.uri)
      defer { close(socket) }
      Sockets.write(socket, colo.precopy.main.prefix(200))
      let refusal = try standby.refusal()
      #expect(refusal.kind == .refused && refusal.hint?.contains("--colo") == true, "\(refusal)")
      #expect(SmallFileSystem.tree(standby.store) == [])
    }
  }

  @Test("A primary up to 10.2 with return-path is refused: it would cut its own connection")
  func returnPath() throws {
    let standby = try LocalStandby()
    let socket = try Primary.connect(standby.uri)
    defer { close(socket) }
    var encoder = StreamEncoder()
    encoder.fileHeader()
    encoder.configuration(Configuration(machine: "pc-q35-10.0"))
    encoder.command(.openReturnPath)
    encoder.command(.ping(1))
    encoder.command(.enableCOLO)
    encoder.beginSection(.start, id: 2, name: "ram", instance: 0, version: 4)
    Sockets.write(socket, encoder.take())
    let refusal = try standby.refusal()
    #expect(refusal.kind == .refused && "\(refusal)".contains("return-path"), "\(refusal)")
  }

  @Test("Looking at a store never makes it busy for those who use it")
  func looking() throws {
    let standby = try LocalStandby()
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 1)
    primary.close()
    _ = try standby.outcome()
    let (path, done) = (standby.store, TestSupport.Monitor(false))
    inThreads(2) { thread in
      if thread == 0 {
        while !done.read({ $0 }) { _ = try? Store.status(of: path) }
        return
      }
      for _ in 0..<3000 {
        do { _ = try Store.open(path) } catch { Issue.record(error) }
      }
      done.update { $0 = true }
    }
  }

  @Test("A store that holds a guest is not received into, whoever it belongs to")
  func occupied() throws {
    let standby = try LocalStandby()
    let busy = #expect(throws: Failure.self) {
      try LocalStandby(store: standby.store).wait().get()
    }
    #expect(busy?.kind == .failed && "\(busy!)".contains("in use by another process"), "\(busy!)")
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    try primary.play(upTo: 2)
    primary.close()
    _ = try standby.outcome()
    for state in [Manifest.State.standby, .held, .handedOver, .handingOver, .unsettled] {
      try StoreCheck.set(state, in: standby.store)
      for colo in [true, false] {
        let failure = #expect(throws: Failure.self) {
          try LocalStandby(store: standby.store, isStandby: colo).wait().get()
        }
        #expect(failure?.kind == .failed, "\(state)")
        #expect("\(failure!)".contains("holds a guest"), "\(state): \(failure!)")
      }
    }
    try StoreCheck.set(.standby, in: standby.store)
    try StoreCheck.expect(standby.store, holds: 2, Self.script)
  }
}
