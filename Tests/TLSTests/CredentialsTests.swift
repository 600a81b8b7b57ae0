import Foundation
import TLS
import TestSupport
import Testing

@Suite("Credentials")
struct CredentialsTests {
  /// Why a folder cannot be used; nil where it can.
  private func refusal(
    _ folder: TemporaryFolder, _ side: TLSCredentials.Side = .listening,
    _ wishes: TLSCredentials.Wishes = .init()
  ) -> TLSError? {
    errno = 0
    do throws(TLSError) { _ = try TLSCredentials(in: folder.path, for: side, wishes) } catch {
      // A number that is closed twice may be somebody else's the second time.
      let last = errno
      #expect(last != EBADF, "\(error)")
      return error
    }
    return nil
  }

  private func change(_ path: String, mode: mode_t) { #expect(chmod(path, mode) == 0) }

  @Test("QEMU's folder is taken; what is not there, or not whole, is named")
  func files() throws {
    let folder = try TemporaryFolder()
    #expect(refusal(folder)?.message.contains("neither ca-cert.pem nor keys.psk") == true)
    try CertificateAuthority().fill(folder)
    #expect(refusal(folder) == nil && refusal(folder, .connecting) == nil)
    unlink(folder("client-cert.pem"))
    #expect(refusal(folder, .connecting)?.message.contains("no client-cert.pem") == true)
    unlink(folder("client-key.pem"))
    #expect(refusal(folder, .connecting) == nil, "a connecting side may have none")
    unlink(folder("server-cert.pem"))
    unlink(folder("server-key.pem"))
    #expect(refusal(folder)?.message.contains("no server-cert.pem") == true)
    try "nonsense".write(toFile: folder("ca-cert.pem"), atomically: false, encoding: .utf8)
    #expect(refusal(folder)?.message.contains("no server-cert.pem") == true)
    #expect(refusal(folder, .connecting)?.message.contains("ca-cert.pem: ") == true)
  }

  @Test("Who else could read a key, or put another certificate there, is told and refused")
  func trust() throws {
    let folder = try TemporaryFolder()
    try CertificateAuthority().fill(folder)
    change(folder("server-key.pem"), mode: 0o640)
    #expect(refusal(folder) == nil, "a group of services may have a key of root's")
    change(folder("server-key.pem"), mode: 0o644)
    let readable = try #require(refusal(folder))
    #expect(readable.message.contains("server-key.pem is secret, and everybody can read it"))
    #expect(readable.hint?.contains("chmod o-r") == true)
    change(folder("server-key.pem"), mode: 0o600)
    for name in ["ca-cert.pem", "server-cert.pem", "server-key.pem"] {
      change(folder(name), mode: 0o620)
      #expect(refusal(folder)?.message.contains("\(name) is writable for others") == true)
      change(folder(name), mode: 0o600)
    }
    change(folder.path, mode: 0o777)
    #expect(refusal(folder)?.message.contains("is writable for others") == true)
    change(folder.path, mode: 0o700)
    if geteuid() == 0 {
      #expect(chown(folder("ca-cert.pem"), 12345, 0) == 0)
      #expect(refusal(folder)?.message.contains("belongs to user 12345") == true)
      #expect(chown(folder("ca-cert.pem"), 0, 0) == 0)
    }
    #expect(refusal(folder) == nil)
    // A name that leads to a file elsewhere is as good as the file is.
    let other = try TemporaryFolder()
    rename(folder("server-key.pem"), other("key"))
    symlink(other("key"), folder("server-key.pem"))
    #expect(refusal(folder) == nil)
    change(other("key"), mode: 0o604)
    #expect(refusal(folder)?.message.contains("everybody can read it") == true)
    unlink(folder("server-key.pem"))
    mkfifo(folder("server-key.pem"), 0o600)
    #expect(refusal(folder)?.message.contains("is no regular file") == true)
  }

  @Test("A certificate of this side's that nobody would accept is refused at once")
  func own() throws {
    typealias Subject = CertificateAuthority.Subject
    var (expired, early, wrong) = (Subject("late"), Subject("early"), Subject("wrong"))
    expired.days = (-3, -1)
    early.days = (1, 3)
    wrong.side = .client
    for (subject, why) in [
      (expired, "it has expired"), (early, "it is not valid yet"),
      (wrong, "it is not for this side of a connection"),
    ] {
      let folder = try TemporaryFolder()
      try CertificateAuthority().fill(folder, server: subject)
      let message = try #require(refusal(folder)).message
      #expect(message.contains("server-cert.pem would be accepted nowhere: \(why)"), "\(message)")
    }
    let folder = try TemporaryFolder()
    let authority = try CertificateAuthority()
    try authority.fill(folder)
    try authority.revoke(["client"], in: folder)
    #expect(refusal(folder) == nil)
    #expect(refusal(folder, .connecting)?.message.contains("it has been revoked") == true)
    // The certificate of an authority, and what another one has signed.
    let other = try CertificateAuthority().fill(try TemporaryFolder())
    unlink(folder("ca-crl.pem"))
    unlink(folder("ca-cert.pem"))
    rename(other("ca-cert.pem"), folder("ca-cert.pem"))
    #expect(refusal(folder)?.message.contains("no CA of ca-cert.pem has signed it") == true)
  }

  @Test("Shared keys: each by its name; what is no key is named by its line, and not shown")
  func keys() throws {
    let folder = try TemporaryFolder()
    try CertificateAuthority.fillKeys(folder, ["qemu": "one", "alice": "two"])
    #expect(refusal(folder) == nil && refusal(folder, .connecting) == nil)
    var wishes = TLSCredentials.Wishes()
    wishes.username = "bob"
    #expect(refusal(folder, .connecting, wishes)?.message.contains("no key of 'bob'") == true)
    var subjects = TLSCredentials.Wishes()
    subjects.subjects = ["CN=x"]
    #expect(refusal(folder, .listening, subjects)?.message.contains("has no certificate") == true)
    change(folder("keys.psk"), mode: 0o644)
    #expect(refusal(folder)?.message.contains("everybody can read it") == true)
    for text in ["alice:5ecret", "alice", ":00ff", "alice:", "alice:123", ""] {
      try "qemu:00ff\n\(text)\n".write(
        toFile: folder("keys.psk"), atomically: false, encoding: .utf8)
      change(folder("keys.psk"), mode: 0o600)
      let message = refusal(folder)?.message
      guard !text.isEmpty else {
        #expect(message == nil)
        continue
      }
      #expect(message?.contains("line 2 is no NAME:KEY") == true)
      #expect(message?.contains("5ecret") != true)
    }
    try CertificateAuthority().fill(folder)
    #expect(refusal(folder)?.message.contains("has both") == true)
  }
}
