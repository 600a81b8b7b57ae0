import Foundation
import TestSupport
import Testing

/// `multifd protect` by TLS beside a stock QEMU 11.1: the control connection, memory and mirrors.
@Suite("Protecting a whole guest by TLS", .beside)
struct ProtectTLSTests {
  private static let tls = "--tls-creds"

  private func isAvailable() -> Bool {
    QEMUVersion.v111.isAvailableElseAnnounce("protecting a whole guest by TLS")
  }

  /// What its migrations go by, as QEMU says.
  private func parameters(_ parts: WholeGuestParts) throws -> [String?] {
    let all = try parts.qemu.qmp.execute("query-migrate-parameters")
    return ["tls-creds", "tls-hostname"].map { all[$0].string }
  }

  @Test("All of it goes by TLS; when the standby dies nothing is left, and the guest goes on")
  func all() throws {
    guard isAvailable() else { return }
    let folder = try CertificateAuthority().fill(try TemporaryFolder())
    defer { folder.remove() }
    let parts = try WholeGuestParts()
    try parts.qemu.qmp.execute(
      "object-add",
      [
        "qom-type": "tls-creds-x509", "id": "tls0", "dir": .string(folder.path),
        "endpoint": "client",
      ])
    try parts.qemu.qmp.execute(
      "migrate-set-parameters", ["tls-creds": "tls0", "tls-hostname": "elsewhere"])
    // Nobody who wanted TLS is to get none.
    let plain = try parts.protect([]).wait()
    #expect(plain.code == 2 && plain.errors.contains("its migrations go by TLS"), "\(plain)")
    let standby = try parts.standby([Self.tls, folder.path])
    let look = try parts.protect(["--dry-run", Self.tls, folder.path]).wait()
    #expect(look.code == 0, "\(look)")
    #expect(try parts.leftovers() == [])
    let protect = try parts.protect([
      "--all-nets", "--checkpoint", "200ms", "--channels", "2", Self.tls, folder.path,
    ])
    try WholeGuestParts.waitProtected(protect)
    let said = standby.process.errors.text
    #expect(said.contains("a protect has connected by TLS1.3"), "\(said)")
    #expect(said.contains("disk 'disk1': a mirror is connected by TLS1.3"), "\(said)")
    #expect(said.contains("the source comes by TLS1.3"), "\(said)")
    #expect(try parts.leftovers().contains("mf-credentials"))
    #expect(try parameters(parts) == ["mf-credentials", "127.0.0.1"])
    // Another process takes over by TLS, too.
    kill(try #require(protect.process.children.first), SIGKILL)
    let isBack = protect.process.errors.wait(.seconds(20)) {
      $0.text.hasSuffix("taking over") ? true : nil
    }
    #expect(isBack == true, "\(protect.process.errors.text)")
    try WholeGuestParts.waitProtected(protect)
    standby.process.kill()
    let end = try protect.wait()
    #expect(end.code == 3 && end.errors.contains("unprotected since "), "\(end)")
    #expect(try parts.qemu.status() == "running")
    #expect(try parts.leftovers() == [])
    // The second process knows no more than whose those were.
    #expect(try parameters(parts) == ["", ""])
    try parts.write(0, 21, at: "0")
    #expect(try parts.byte("a", at: 0) == 21)
  }

  @Test(
    "Who is not accepted is told why, and the guest runs; with the right folder it is protected")
  func refusals() throws {
    guard isAvailable() else { return }
    let authority = try CertificateAuthority()
    let folders = try (0..<4).map { _ in try TemporaryFolder() }
    defer { for folder in folders { folder.remove() } }
    let (right, wrong, nobody, changing) = (folders[0], folders[1], folders[2], folders[3])
    try authority.fill(right)
    try CertificateAuthority().fill(wrong)
    try authority.fill(nobody, server: nil, client: nil)
    try authority.fill(changing, server: nil, client: .init("mallory"))
    let parts = try WholeGuestParts()
    try parts.qemu.qmp.execute(
      "object-add",
      [
        "qom-type": "tls-creds-x509", "id": "tls0", "dir": .string(right.path),
        "endpoint": "client",
      ])
    let standby = try parts.standby([
      Self.tls, right.path, "--tls-authz", "O=multifd,CN=client", "--tls-authz",
      "CN=client,O=multifd",
    ])
    func expect(
      _ arguments: [String], code: Int32, _ words: String, standby told: String? = nil
    ) throws {
      let result = try parts.protect(arguments).wait()
      #expect(result.code == code && result.errors.contains(words), "\(words): \(result)")
      #expect(try parts.qemu.status() == "running", "\(words)")
      #expect(try parts.leftovers() == [], "\(words)")
      guard let told else { return }
      let isTold = standby.process.errors.wait(.seconds(10)) {
        $0.text.contains(told) ? true : nil
      }
      #expect(isTold == true, "\(told): \(standby.process.errors.text)")
    }
    try expect([], code: 3, "standby: ", standby: "it speaks without TLS")
    try expect(
      [Self.tls, wrong.path], code: 2, "its certificate is not accepted: no CA of ca-cert.pem",
      standby: "it does not accept this side")
    try expect(
      [Self.tls, right.path, "--tls-hostname", "other.example"], code: 2,
      "it is not for 'other.example'")
    try expect(
      [Self.tls, nobody.path], code: 2, "there is no client-cert.pem",
      standby: "it has shown no certificate")
    // Our own connection is accepted, and those of QEMU are not.
    try expect(
      [Self.tls, right.path, "--qemu-tls-creds", "tls1"], code: 2,
      "QEMU has no credentials 'tls1'")
    try parts.qemu.qmp.execute(
      "object-add",
      [
        "qom-type": "tls-creds-x509", "id": "tls2", "dir": .string(changing.path),
        "endpoint": "client",
      ])
    try expect(
      [Self.tls, right.path, "--qemu-tls-creds", "tls2"], code: 3, "qemu: blockdev-add: ",
      standby:
        "disks: a connection has been turned away: its subject 'O=multifd,CN=mallory' is none")
    try expect([Self.tls, parts.folder("none")], code: 2, "none: No such file")
    // One that waits goes on as soon as the folder is what it should be.
    let waiting = try parts.protect(["--retry", "--checkpoint", "200ms", Self.tls, changing.path])
    let isTold = waiting.process.errors.wait(.seconds(20)) {
      $0.text.contains("unprotected since") ? true : nil
    }
    #expect(isTold == true)
    #expect(try parts.qemu.status() == "running")
    try authority.fill(changing, server: nil)
    try WholeGuestParts.waitProtected(waiting)
    // And by QEMU's own, in another's name.
    waiting.process.kill(SIGTERM)
    _ = try waiting.wait()
    let stop = try parts.protect(["--stop", Self.tls, changing.path]).wait()
    #expect(stop.code == 0, "\(stop)")
    #expect(try parts.leftovers() == [])
    _ = try standby.wait()
    let next = try parts.standby([Self.tls, right.path, "--adopt"])
    let own = try parts.protect([
      "--checkpoint", "200ms", Self.tls, right.path, "--qemu-tls-creds", "tls0", "--tls-hostname",
      "localhost",
    ])
    try WholeGuestParts.waitProtected(own)
    #expect(try parameters(parts) == ["tls0", "localhost"])
    #expect(try !parts.leftovers().contains("mf-credentials"))
    #expect(next.process.isRunning)
  }
}
