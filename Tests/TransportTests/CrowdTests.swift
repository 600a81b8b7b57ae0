import Foundation
import Glibc
import TestSupport
import Testing
import Transport

/// One host makes connections as fast as it can, and another one's source comes meanwhile. All of
/// 127.0.0.0/8 are this machine's.
@Suite("A host that makes many connections")
struct CrowdTests {
  private typealias Hall = LobbyTests.Hall
  private static let other = "127.0.0.2"

  @Test("It makes room for its own: a source that has fewer keeps its places")
  func places() throws {
    let hall = try Hall(.tcp, timeout: 60, mostLead: .seconds(60), places: 12)
    let channels = try (0..<4).map { _ in try hall.connect() }
    for (index, channel) in channels.enumerated() {
      Sockets.write(channel, LobbyTests.channel + [UInt8(index)])
    }
    for _ in 0..<40 { _ = try hall.connect(from: Self.other) }
    // 44 have come, and there are 12 places.
    for _ in 0..<32 { #expect(hall.next() == .stranger(.silent(after: 0))) }
    Sockets.write(try hall.connect(), LobbyTests.main)
    #expect(hall.next() == .stranger(.silent(after: 0)), "the main channel has got a place, too")
    #expect(hall.next() == .main)
    for _ in channels { #expect(hall.next() == .channel) }
    #expect(Set(try hall.sockets.dropFirst().map { try $0.bytes(5)![4] }) == Set(0..<4))
  }

  @Test("What comes faster than anybody migrates is closed unseen, and its host's alone")
  func pace() throws {
    let hall = try Hall(.tcp)
    var count = 0
    while !hall.has(.stranger(.crowd)), count < 50_000 {
      for _ in 0..<50 { hall.close(try hall.connect(from: Self.other)) }
      count += 50
    }
    #expect(hall.has(.stranger(.crowd)), "\(count) have come")
    // A source with all the channels that there can be is none of them.
    #expect(count > 600)
    let main = try hall.connect()
    Sockets.write(main, LobbyTests.main)
    #expect(hall.waits(for: .main))
  }

  @Test("A channel from another host is not the source's, whether it comes before or after")
  func elsewhere() throws {
    let hall = try Hall(.tcp)
    let (early, own) = (try hall.connect(from: Self.other), try hall.connect())
    Sockets.write(early, LobbyTests.channel + [1])
    Sockets.write(own, LobbyTests.channel + [2])
    Thread.sleep(forTimeInterval: 0.05)
    Sockets.write(try hall.connect(), LobbyTests.main)
    #expect(hall.next() == .main)
    #expect(hall.next() == .stranger(.elsewhere))
    #expect(hall.next() == .channel)
    let late = try hall.connect(from: Self.other)
    Sockets.write(late, LobbyTests.channel + [3])
    #expect(hall.next() == .stranger(.elsewhere))
    #expect(try hall.sockets[1].bytes(5) == LobbyTests.channel + [2])
    #expect(LobbyTests.isClosed(early) && LobbyTests.isClosed(late))
  }
}
