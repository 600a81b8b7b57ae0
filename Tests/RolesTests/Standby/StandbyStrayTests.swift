import Foundation
import Roles
import SessionReplay
import TestSupport
import Testing

/// A port scan, a health check or another program ends no standby, whenever it comes.
@Suite("Connections that are no primary's", .beside)
struct StandbyStrayTests {
  static let script = SyntheticGuest.script(seed: 44, checkpoints: 3, pages: [200, 9])

  /// All kinds come at once; those that stay are given back.
  private func visit(_ uri: String) throws -> [Int32] {
    try Stray.all.compactMap { stray in
      let socket = try Primary.connect(uri)
      Sockets.write(socket, stray.bytes)
      guard stray.closes else { return socket }
      close(socket)
      return nil
    }
  }

  @Test(
    "Before the primary, in precopy, between checkpoints and inside of one",
    arguments: [false, true])
  func all(tcp: Bool) throws {
    let standby = try StandbyProcess(tcp: tcp, ["--timeout", "3"])
    var sockets = try visit(standby.uri)
    defer { for socket in sockets { close(socket) } }
    // Longer than --timeout: the standby waits on.
    Thread.sleep(forTimeInterval: 3.3)
    sockets += try visit(standby.uri)
    let primary = try Primary(Self.script, to: standby.uri)
    defer { primary.close() }
    var burst = Self.script.precopy
    let rest = Array(burst.main.suffix(4000))
    burst.main.removeLast(rest.count)
    try primary.send(burst)
    // Those who were there before have a second to speak. Then it passes its first sync point.
    Thread.sleep(forTimeInterval: 1.3)
    sockets += try visit(standby.uri)
    Thread.sleep(forTimeInterval: 0.1)
    try primary.finishPrecopy(rest)
    try primary.checkpoint(1)
    sockets += try visit(standby.uri)
    Thread.sleep(forTimeInterval: 0.2)
    try primary.request()
    sockets += try visit(standby.uri)
    try primary.send(Self.script.checkpoints[1])
    try primary.expectAcknowledgement(2)
    try primary.checkpoint(3)
    primary.close()
    let result = try standby.multifd.wait()
    #expect(result.code == 3 && result.json["checkpoint"].int == 3, "\(result)")
    #expect(result.errors.contains("turned away: it speaks TLS"), "\(result)")
    try StoreCheck.expect(standby.store, holds: 3, Self.script)
  }
}
