import CGnuTLS
import Foundation
import Glibc

/// A certificate authority of a test's own, and the folders of credentials that it makes, as QEMU
/// has them.
public final class CertificateAuthority {
  /// Who a certificate is for, and when.
  public struct Subject {
    /// Its common name.
    public var name: String
    /// Names and IPv4 addresses of its host.
    public var hosts: [String] = []
    /// Days from now: when it begins to be valid, and when it no longer is.
    public var days = (-1.0, 30.0)
    /// The side it says that it is for; nil: it says nothing.
    public var side: Side?

    /// A certificate of today's for `127.0.0.1` and `localhost`.
    public init(_ name: String, hosts: [String] = ["127.0.0.1", "localhost"]) {
      self.name = name
      self.hosts = hosts
    }
  }

  /// Of a connection.
  public enum Side: String { case server, client }

  private let key: gnutls_x509_privkey_t
  private let certificate: gnutls_x509_crt_t
  private var serial: UInt8 = 1
  /// The certificate of each serial number.
  private var issued: [String: gnutls_x509_crt_t] = [:]

  /// A new one, which nobody trusts yet; nil: of a name that no other has.
  public init(_ name: String? = nil) throws {
    let name = name ?? "Test CA \(UInt64.random(in: 0 ..< .max))"
    key = try Self.makeKey()
    certificate = try Self.begin(Subject(name, hosts: []), key, serial: 1)
    gnutls_x509_crt_set_basic_constraints(certificate, 1, -1)
    gnutls_x509_crt_set_key_usage(
      certificate, UInt32(GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN))
    try Self.check(
      gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0), "signing")
  }

  deinit {
    for other in issued.values { gnutls_x509_crt_deinit(other) }
    gnutls_x509_crt_deinit(certificate)
    gnutls_x509_privkey_deinit(key)
  }

  /// Fills `folder` with this authority's certificate, and certificates of a listening and of a
  /// connecting side, those that are not nil.
  @discardableResult
  public func fill(
    _ folder: TemporaryFolder, server: Subject? = Subject("server"),
    client: Subject? = Subject("client")
  ) throws -> TemporaryFolder {
    try write(Self.text(of: certificate), folder("ca-cert.pem"))
    for (subject, side) in [(server, Side.server), (client, .client)] {
      guard var subject else { continue }
      if subject.side == nil { subject.side = side }
      let (certificate, key) = try issue(subject)
      try write(certificate, folder("\(side.rawValue)-cert.pem"))
      try write(key, folder("\(side.rawValue)-key.pem"), mode: 0o600)
    }
    return folder
  }

  /// Writes a list that revokes those with a common name that were made so far.
  public func revoke(_ names: [String], in folder: TemporaryFolder) throws {
    var list: gnutls_x509_crl_t?
    try Self.check(gnutls_x509_crl_init(&list), "a list")
    defer { gnutls_x509_crl_deinit(list) }
    gnutls_x509_crl_set_version(list, 2)
    gnutls_x509_crl_set_this_update(list, time(nil) - 3600)
    gnutls_x509_crl_set_next_update(list, time(nil) + 86400)
    for name in names {
      if let revoked = issued[name] { gnutls_x509_crl_set_crt(list, revoked, time(nil) - 60) }
    }
    var number: UInt8 = 1
    gnutls_x509_crl_set_number(list, &number, 1)
    try Self.check(
      gnutls_x509_crl_sign2(list, certificate, key, GNUTLS_DIG_SHA256, 0), "signing a list")
    try write(
      Self.text { gnutls_x509_crl_export(list, GNUTLS_X509_FMT_PEM, $0, $1) },
      folder("ca-crl.pem"))
  }

  /// Writes a `keys.psk` with a key for each name; the same text makes the same key.
  public static func fillKeys(_ folder: TemporaryFolder, _ keys: [String: String]) throws {
    let lines = keys.map { name, text in
      let bytes = Array((text + String(repeating: "=", count: 32)).utf8.prefix(32))
      return "\(name):" + bytes.map { String(format: "%02x", $0) }.joined() + "\n"
    }
    try write(lines.joined(), folder("keys.psk"), mode: 0o600)
  }

  // MARK: Making

  private func issue(_ subject: Subject) throws -> (certificate: String, key: String) {
    let own = try Self.makeKey()
    defer { gnutls_x509_privkey_deinit(own) }
    serial += 1
    let made = try Self.begin(subject, own, serial: serial)
    gnutls_x509_crt_set_basic_constraints(made, 0, -1)
    gnutls_x509_crt_set_key_usage(
      made, UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT))
    if let side = subject.side {
      let purpose = side == .server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT
      gnutls_x509_crt_set_key_purpose_oid(made, purpose, 0)
    }
    for host in subject.hosts {
      var address = in_addr()
      if inet_pton(AF_INET, host, &address) == 1 {
        gnutls_x509_crt_set_subject_alt_name(
          made, GNUTLS_SAN_IPADDRESS, &address, UInt32(MemoryLayout<in_addr>.size),
          UInt32(GNUTLS_FSAN_APPEND))
      } else {
        gnutls_x509_crt_set_subject_alt_name(
          made, GNUTLS_SAN_DNSNAME, host, UInt32(host.utf8.count), UInt32(GNUTLS_FSAN_APPEND))
      }
    }
    try Self.check(gnutls_x509_crt_sign2(made, certificate, key, GNUTLS_DIG_SHA256, 0), "signing")
    issued[subject.name] = made
    return (
      try Self.text(of: made),
      try Self.text { gnutls_x509_privkey_export_pkcs8(own, GNUTLS_X509_FMT_PEM, nil, 8, $0, $1) }
    )
  }

  private static func begin(
    _ subject: Subject, _ key: gnutls_x509_privkey_t, serial: UInt8
  ) throws -> gnutls_x509_crt_t {
    var made: gnutls_x509_crt_t?
    try check(gnutls_x509_crt_init(&made), "a certificate")
    var serial = serial
    gnutls_x509_crt_set_version(made, 3)
    gnutls_x509_crt_set_serial(made, &serial, 1)
    gnutls_x509_crt_set_activation_time(made, time(nil) + Int(subject.days.0 * 86400))
    gnutls_x509_crt_set_expiration_time(made, time(nil) + Int(subject.days.1 * 86400))
    gnutls_x509_crt_set_dn_by_oid(
      made, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "multifd", UInt32("multifd".utf8.count))
    gnutls_x509_crt_set_dn_by_oid(
      made, GNUTLS_OID_X520_COMMON_NAME, 0, subject.name, UInt32(subject.name.utf8.count))
    try check(gnutls_x509_crt_set_key(made, key), "a certificate's key")
    return made!
  }

  private static func makeKey() throws -> gnutls_x509_privkey_t {
    var key: gnutls_x509_privkey_t?
    try check(gnutls_x509_privkey_init(&key), "a key")
    // What GNUTLS_CURVE_TO_BITS makes of a curve: a macro that Swift does not see.
    let curve = 1 << 31 | GNUTLS_ECC_CURVE_SECP256R1.rawValue
    try check(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, curve, 0), "a key")
    return key!
  }

  private static func text(of certificate: gnutls_x509_crt_t) throws -> String {
    try text { gnutls_x509_crt_export(certificate, GNUTLS_X509_FMT_PEM, $0, $1) }
  }

  private static func text(
    _ export: (UnsafeMutableRawPointer, UnsafeMutablePointer<Int>) -> Int32
  ) throws -> String {
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    var count = bytes.count
    // As many bytes as it is told, which says how many it has filled.
    let result = bytes.withUnsafeMutableBytes { export($0.baseAddress!, &count) }
    try check(result, "exporting")
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }

  private static func check(_ result: Int32, _ what: String) throws {
    guard result < 0 else { return }
    throw LabError("\(what): \(String(cString: gnutls_strerror(result)))")
  }
}

private func write(_ text: String, _ path: String, mode: mode_t = 0o644) throws {
  try text.write(toFile: path, atomically: false, encoding: .utf8)
  guard chmod(path, mode) == 0 else { throw LabError("\(path): no mode \(mode)") }
}
