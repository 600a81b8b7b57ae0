import Foundation
import Testing
import Transport

@Suite("Connections within this machine")
struct LoopbackFlowTests {
  private func isLoopback(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { bytes in
      // As long as the longest address, so that whatever the family says is there.
      withUnsafeTemporaryAllocation(of: sockaddr_storage.self, capacity: 1) { room in
        let raw = UnsafeMutableRawBufferPointer(room)
        raw.initializeMemory(as: UInt8.self, repeating: 0)
        raw.copyBytes(from: bytes)
        return raw.withMemoryRebound(to: sockaddr.self) {
          LoopbackFlow.isLoopback($0.baseAddress!)
        }
      }
    }
  }

  @Test("IPv4", arguments: [("127.0.0.1", true), ("127.8.9.1", true), ("192.0.2.127", false)])
  func old(text: String, expected: Bool) {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    #expect(inet_pton(AF_INET, text, &address.sin_addr) == 1)
    #expect(isLoopback(withUnsafeBytes(of: &address) { Array($0) }) == expected)
  }

  @Test("IPv6", arguments: [("::1", true), ("::", false), ("2001:db8::1", false)])
  func new(text: String, expected: Bool) {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    #expect(inet_pton(AF_INET6, text, &address.sin6_addr) == 1)
    #expect(isLoopback(withUnsafeBytes(of: &address) { Array($0) }) == expected)
  }

  @Test("A UNIX socket has no congestion control")
  func local() {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    #expect(!isLoopback(withUnsafeBytes(of: &address) { Array($0) }))
  }
}
