import Foundation
import Glibc
import TLS
import TestSupport
import Testing
import Transport

/// Without TLS nobody listens for others than this machine by mistake.
@Suite("What a listener may be bound to")
struct ReachTests {
  /// What becomes of listening there; nil: it listens.
  private static func refusal(
    _ uri: String, tls: TLSCredentials? = nil, insecure: Bool = false
  ) throws -> TransportError.Kind? {
    let endpoint = try Endpoint(parsing: uri)
    return kind { () throws(TransportError) in
      _ = try Listener(on: endpoint, timeout: 1, tls: tls, insecure: insecure)
    }
  }

  @Test(
    "Loopback, by whatever name",
    arguments: ["127.0.0.1", "127.8.9.10", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
  func loopback(host: String) throws {
    let refusal = try Self.refusal("tcp:\(host):0")
    guard refusal != .unreachable else {
      return SkipReason("this machine has no \(host)").announce("listening on loopback")
    }
    #expect(refusal == nil)
  }

  @Test("All addresses are others' too", arguments: ["0.0.0.0", "", "[::]", "[::ffff:0.0.0.0]"])
  func open(host: String) throws {
    #expect(try Self.refusal("tcp:\(host):0") == .exposed)
    let allowed = try Self.refusal("tcp:\(host):0", insecure: true)
    #expect(allowed == nil || allowed == .unreachable, "\(host): \(String(describing: allowed))")
  }

  @Test("An address of a network's is, too, whether or not this machine has it")
  func network() throws {
    #expect(try Self.refusal("tcp:192.0.2.1:0") == .exposed)
    #expect(try Self.refusal("tcp:192.0.2.1:0", insecure: true) == .unreachable)
  }

  @Test("With TLS it may be any")
  func encrypted() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try CertificateAuthority().fill(folder)
    let tls = try TLSCredentials(in: folder.path, for: .listening)
    #expect(try Self.refusal("tcp:0.0.0.0:0", tls: tls) == nil)
  }

  @Test("Of a passed socket its own address counts; a connection's peer is settled")
  func passed() throws {
    for (host, isOpen) in [("0.0.0.0", true), ("127.0.0.1", false)] {
      let descriptor = try Self.listen(host)
      #expect(try Self.refusal("fd:\(descriptor)") == (isOpen ? .exposed : nil))
      if isOpen { Glibc.close(descriptor) }
    }
    let descriptor = try Self.listen("0.0.0.0")
    #expect(try Self.refusal("fd:\(descriptor)", insecure: true) == nil)
    let (listener, port) = try Sockets.listen()
    let client = try #require(Sockets.connect(port: port))
    let accepted = Sockets.accept(listener)
    #expect(try Self.refusal("fd:\(accepted)") == nil)
    for descriptor in [listener, client] { Glibc.close(descriptor) }
  }

  private static func listen(_ host: String) throws -> Int32 {
    let descriptor = Glibc.socket(
      AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    inet_pton(AF_INET, host, &address.sin_addr)
    // The address lives on this frame for the call, and the size is its own.
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(result == 0 && Glibc.listen(descriptor, 4) == 0)
    return descriptor
  }
}
