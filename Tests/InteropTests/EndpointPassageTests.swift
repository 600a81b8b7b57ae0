import Foundation
import TestSupport
import Testing

extension InteropTests {
  /// A guest goes in and out by other ways than a port of 127.0.0.1.
  @Suite("A guest passes by")
  struct EndpointPassageTests {
    static let cell = Passage.Cell(.v111, .v111, channels: 2, compression: "zstd")

    @Test("a socket that listens and was passed on, and out by passed connections")
    func descriptors() throws {
      try require(.v111)
      let passage = try Passage(Self.cell, guests.guest(.v111, Self.cell.machine))
      defer { passage.end() }
      let (listener, port) = try Sockets.listen()
      defer { close(listener) }
      let taken = try passage.takeIn(
        by: "fd:3", passing: [listener], sourceTo: "tcp:127.0.0.1:\(port)")
      #expect(taken.receive.json["result"].string == "held")
      let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
      #expect(count == 0, "pages of the store that differ from the source's: \(pages)")
      passage.endSource()

      let (destination, incoming) = try passage.startDestination()
      defer { destination.terminate() }
      let connections = try (0...Self.cell.channels).map { _ in
        try #require(Sockets.connect(port: incoming))
      }
      defer { for connection in connections { close(connection) } }
      _ = try passage.handOut(
        to: destination, by: "fd:3,4,5", passing: connections, after: taken.lastHeartbeat)
      #expect(try passage.check(destination).bad == 0)
    }

    @Test("IPv6")
    func ipv6() throws {
      try require(.v111)
      let passage = try Passage(Self.cell, guests.guest(.v111, Self.cell.machine))
      defer { passage.end() }
      let taken = try passage.takeIn(by: "tcp:[::1]:0")
      #expect(taken.receive.json["result"].string == "held")
      passage.endSource()

      let uri = "tcp:[::1]:\(try Sockets.freePort())"
      let destination = try passage.startDestination(at: uri)
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, by: uri, after: taken.lastHeartbeat)
      #expect(try passage.check(destination).bad == 0)
    }
  }
}
