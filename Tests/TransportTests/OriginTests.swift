import Foundation
import Glibc
import Testing
import Transport

@Suite("Where a connection comes from")
struct OriginTests {
  private static func origin(_ text: String) throws -> Origin {
    var storage = sockaddr_storage()
    // A sockaddr_storage has room for either, and begins as both do.
    let result = withUnsafeMutableBytes(of: &storage) { bytes -> Int32 in
      if text.contains(":") {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        let result = inet_pton(AF_INET6, text, &address.sin6_addr)
        bytes.storeBytes(of: address, as: sockaddr_in6.self)
        return result
      }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      let result = inet_pton(AF_INET, text, &address.sin_addr)
      bytes.storeBytes(of: address, as: sockaddr_in.self)
      return result
    }
    try #require(result == 1)
    return Origin(storage)
  }

  @Test(
    "One host is one origin, however it is written, and two hosts are two",
    arguments: [
      ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
      ("192.0.2.1", "::ffff:192.0.2.1", true), ("127.0.0.1", "127.0.0.2", false),
      ("2001:db8:1:2::3", "2001:db8:1:2:4:5:6:7", true),
      ("2001:db8:1:2::3", "2001:db8:1:3::3", false), ("fe80::1", "fe80::2", false),
      ("::1", "::2", false), ("0.0.0.1", "::1", false),
    ])
  func same(one: String, other: String, expected: Bool) throws {
    #expect(try (Self.origin(one) == Self.origin(other)) == expected)
  }

  @Test(
    "It is told as an address",
    arguments: [
      ("192.0.2.17", "192.0.2.17"), ("::ffff:192.0.2.17", "192.0.2.17"),
      ("2001:db8:1:2::3", "2001:db8:1:2::/64"), ("fe80::1:2", "fe80:0:0:0:0:0:1:2"),
      ("::1", "0:0:0:0:0:0:0:1"),
    ])
  func text(address: String, expected: String) throws {
    #expect("\(try Self.origin(address))" == expected)
  }

  @Test("Who makes room is the oldest of the host that has the most; of equals the oldest of all")
  func surplus() throws {
    let (a, b, c) = (
      try Self.origin("192.0.2.1"), try Self.origin("192.0.2.2"), try Self.origin("192.0.2.3")
    )
    #expect(Origin.surplus(of: []) == nil)
    #expect(Origin.surplus(of: [a]) == 0)
    #expect(Origin.surplus(of: [a, b, c, b]) == 1)
    #expect(Origin.surplus(of: [a, b, b, a, c]) == 0)
    #expect(Origin.surplus(of: [a, a, b, c, c, c]) == 3)
  }
}
