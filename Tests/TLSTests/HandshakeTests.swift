import Foundation
import TLS
import TestSupport
import Testing

@Suite("Handshakes")
struct HandshakeTests {
  @Test("Two sides of one authority meet by TLS 1.3 and AES-128-GCM")
  func meet() throws {
    let (client, server) = try credentials()
    let shaken = try Handshake(client, server)
    let (one, two) = (try shaken.connecting.get(), try shaken.listening.get())
    #expect(one.description == "TLS1.3, AES-128-GCM" && two.description == one.description)
    try one.send([1, 2, 3])
    #expect(try two.bytes(3) == [1, 2, 3])
    try two.send([4])
    #expect(try one.bytes(1) == [4])
  }

  @Test("Whose name is another, by host or address, is not met")
  func names() throws {
    let (client, server) = try credentials(server: .init("s", hosts: ["a.example", "10.1.2.3"]))
    for name in ["a.example", "10.1.2.3"] {
      #expect(throws: Never.self) { try Handshake(client, server, name: name).connecting.get() }
    }
    for name in ["b.example", "10.1.2.4", "127.0.0.1", "s"] {
      let shaken = try Handshake(client, server, name: name)
      #expect(shaken.reason == "its certificate is not accepted: it is not for '\(name)'")
      #expect(shaken.refusal?.contains("it does not accept this side") == true)
    }
  }

  @Test("Another authority's certificate is not accepted, on either side")
  func authorities() throws {
    let (ours, theirs) = (try credentials(), try credentials())
    let shaken = try Handshake(ours.client, theirs.server)
    #expect(
      shaken.reason == "its certificate is not accepted: no CA of ca-cert.pem has signed it")
    #expect(shaken.refusal?.hasPrefix("it does not accept this side: ") == true)
    // Its name alone makes nobody an authority.
    let (one, two) = (try TemporaryFolder(), try TemporaryFolder())
    for folder in [one, two] { try CertificateAuthority("The CA").fill(folder) }
    let named = try Handshake(
      TLSCredentials(in: one.path, for: .connecting), TLSCredentials(in: two.path, for: .listening))
    #expect(named.reason?.contains("not by the CA of that name") == true)
  }

  @Test("Who has no certificate does not come in, unless anybody may")
  func anonymous() throws {
    let (client, server) = try credentials(client: nil)
    let shaken = try Handshake(client, server)
    #expect(shaken.refusal == "it has shown no certificate")
    let reason = try #require(shaken.reason)
    #expect(
      reason.hasPrefix("it does not accept this side: ") && reason.contains("no client-cert.pem"),
      "\(reason)")
    let open = try credentials(client: nil) { $0.takesAnybody = true }
    #expect(throws: Never.self) { try Handshake(open.client, open.server).listening.get() }
  }

  @Test(
    "Of one that has left in the middle what it has said is read, though nothing can be sent to it")
  func left() throws {
    let (client, server) = try credentials()
    let pair = try Pair()
    let leaving = try TLSSession(pair.ends.0, client)
    #expect(try leaving.shake() != nil)
    // It has said hello and goes, and what is sent meets nobody.
    for end in [pair.ends.0, pair.ends.1] { shutdown(end, Int32(SHUT_WR)) }
    let error = #expect(throws: TLSError.self) {
      try TLSSession(pair.ends.1, server).shake(within: 10)
    }
    #expect(error?.kind == .ended, "\(String(describing: error))")
  }

  @Test("A revoked certificate, and one of the other side's, are not accepted")
  func revoked() throws {
    let (folder, theirs) = (try TemporaryFolder(), try TemporaryFolder())
    let authority = try CertificateAuthority()
    try authority.fill(theirs)
    var wrong = CertificateAuthority.Subject("wrong")
    wrong.side = .server
    let client = try TLSCredentials(in: theirs.path, for: .connecting)
    try authority.fill(folder)
    try authority.revoke(["client"], in: folder)
    // The list has the newer certificate of this name, and then the one that comes.
    try authority.fill(theirs)
    try authority.revoke(["client"], in: folder)
    let revoked = try TLSCredentials(in: theirs.path, for: .connecting)
    let server = try TLSCredentials(in: folder.path, for: .listening)
    #expect(throws: Never.self) { try Handshake(client, server).listening.get() }
    #expect(
      try Handshake(revoked, server).refusal
        == "its certificate is not accepted: it has been revoked")
  }

  @Test("Of those that the authority has signed only the named ones come in")
  func subjects() throws {
    for (subject, isTaken) in [
      ("CN=client,O=multifd", true), ("O=multifd,CN=client", true), ("CN=other,O=multifd", false),
      ("client", false),
    ] {
      let (client, server) = try credentials { $0.subjects = ["CN=x", subject] }
      let shaken = try Handshake(client, server)
      if case .success = shaken.listening {
        #expect(isTaken, "\(subject)")
      } else {
        #expect(!isTaken || subject.hasPrefix("CN"), "\(subject): \(shaken.refusal ?? "")")
        #expect(shaken.reason?.hasPrefix("it does not accept this side: ") == true)
      }
    }
  }

  @Test("Shared keys: the same one meets, another one, and another name, do not")
  func keys() throws {
    let (here, there) = (try TemporaryFolder(), try TemporaryFolder())
    try CertificateAuthority.fillKeys(here, ["qemu": "one", "alice": "two"])
    try CertificateAuthority.fillKeys(there, ["qemu": "one", "alice": "three", "bob": "four"])
    let server = try TLSCredentials(in: here.path, for: .listening)
    func client(_ name: String?) throws -> TLSCredentials {
      var wishes = TLSCredentials.Wishes()
      wishes.username = name
      return try TLSCredentials(in: there.path, for: .connecting, wishes)
    }
    let shaken = try Handshake(client(nil), server, name: nil)
    #expect(try shaken.listening.get().description == "TLS1.3, AES-128-GCM")
    #expect(throws: Never.self) { try shaken.connecting.get() }
    #expect(try Handshake(client("alice"), server, name: nil).refusal != nil)
    #expect(
      try Handshake(client("bob"), server, name: nil).refusal
        == "keys.psk has no key of 'bob', as whom it comes")
  }

  @Test("Who says something else, says nothing, or leaves, is told apart")
  func others() throws {
    let (client, server) = try credentials()
    func refusal(_ seconds: Double, _ says: (Int32) -> Void) throws -> TLSError? {
      let pair = try Pair()
      says(pair.ends.0)
      let session = try TLSSession(pair.ends.1, server)
      do throws(TLSError) { try session.shake(within: seconds) } catch { return error }
      return nil
    }
    let plain = try refusal(5) { Sockets.write($0, Array("QEVM and what follows".utf8)) }
    #expect(plain?.kind == .refused && plain?.message == "what it says is not TLS")
    #expect(try refusal(0.1) { _ in }?.kind == .silent)
    #expect(try refusal(5) { shutdown($0, Int32(SHUT_WR)) }?.kind == .ended)
    _ = client
  }
}
