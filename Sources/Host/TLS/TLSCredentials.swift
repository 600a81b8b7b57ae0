import CGnuTLS
import Glibc

/// What one side of a connection shows of itself and asks of the other, by a folder as QEMU's
/// `tls-creds-x509` or `tls-creds-psk` has it: `ca-cert.pem`, `ca-crl.pem`, `server-cert.pem` and
/// `server-key.pem` where it listens, `client-cert.pem` and `client-key.pem` where it connects; or
/// `keys.psk`.
///
/// @unchecked Sendable: what GnuTLS has of it is only read once this is made, which it allows from
/// any thread (its manual, "Thread safety").
public final class TLSCredentials: @unchecked Sendable {
  /// Which side of a connection it is.
  public enum Side: Sendable, Equatable {
    /// The one that listens: TLS's server.
    case listening
    /// The one that connects: TLS's client.
    case connecting
  }

  /// What an operator decides besides the folder.
  public struct Wishes: Sendable {
    /// Whose certificate the listening side must have; nil: that of the host that is connected to.
    public var hostname: String?
    /// The only distinguished names that a connecting side may have; empty: whatever the CA has
    /// signed.
    public var subjects: [String] = []
    /// A connecting side need not have a certificate: QEMU's `verify-peer=no`.
    public var takesAnybody = false
    /// As whom to connect where keys are shared; nil: `qemu`, as QEMU does.
    public var username: String?

    /// Nothing in particular.
    public init() {}
  }

  enum Kind {
    case x509(gnutls_certificate_credentials_t)
    case listeningPSK(gnutls_psk_server_credentials_t, PreSharedKeys)
    case connectingPSK(gnutls_psk_client_credentials_t)
  }

  let kind: Kind
  let side: Side
  let wishes: Wishes
  /// It has nothing to show of itself.
  let isAnonymous: Bool

  /// Reads a folder and looks whether all in it can be used: whose it is, whether a certificate of
  /// this side is one that the CA has signed, for what it is to be used for, and now.
  public init(in path: String, for side: Side, _ wishes: Wishes = Wishes()) throws(TLSError) {
    (self.side, self.wishes) = (side, wishes)
    let folder = try CredentialFolder(path)
    let authorities = try folder.read("ca-cert.pem")
    let keys = try folder.read("keys.psk", isSecret: true)
    switch (authorities, keys) {
    case (nil, nil):
      throw TLSError(.credentials, "\(path) has neither ca-cert.pem nor keys.psk")
    case (.some, .some):
      throw TLSError(
        .credentials, "\(path) has both ca-cert.pem and keys.psk",
        hint: "certificates and shared keys are two ways: keep them in two folders")
    case (nil, let keys?):
      (kind, isAnonymous) = (try Self.shared(keys, folder, side, wishes), false)
    case (let authorities?, nil):
      guard wishes.username == nil else {
        throw TLSError(.credentials, "\(path) has no keys.psk, to which a user name belongs")
      }
      (kind, isAnonymous) = try Self.certified(authorities, folder, side)
    }
  }

  deinit {
    // No session is left that uses it: each keeps this.
    switch kind {
    case .x509(let credentials): gnutls_certificate_free_credentials(credentials)
    case .listeningPSK(let credentials, _): gnutls_psk_free_server_credentials(credentials)
    case .connectingPSK(let credentials): gnutls_psk_free_client_credentials(credentials)
    }
  }

  /// The other side is known by the name in its certificate.
  public var asksForName: Bool { if case .x509 = kind { side == .connecting } else { false } }

  /// The name that the operator has said is the other side's.
  public var hostname: String? { wishes.hostname }

  // MARK: Reading

  private static func shared(
    _ bytes: [UInt8], _ folder: borrowing CredentialFolder, _ side: Side, _ wishes: Wishes
  ) throws(TLSError) -> Kind {
    let place = "\(folder.path)/keys.psk"
    let keys = try PreSharedKeys(parsing: bytes, of: place)
    guard wishes.subjects.isEmpty, !wishes.takesAnybody else {
      throw TLSError(
        .credentials, "\(place): whoever has a key of it is known by that, and has no certificate",
        hint: "subjects, and sides without a certificate, belong to a folder with ca-cert.pem")
    }
    guard side == .connecting else {
      var credentials: gnutls_psk_server_credentials_t?
      try check(gnutls_psk_allocate_server_credentials(&credentials), place)
      gnutls_psk_set_server_credentials_function(credentials!) { session, name, key in
        RecordLayer.of(session).find(name, key)
      }
      return .listeningPSK(credentials!, keys)
    }
    let name = wishes.username ?? "qemu"
    guard let key = keys[name] else {
      throw TLSError(.credentials, "\(place) has no key of '\(name)'")
    }
    var credentials: gnutls_psk_client_credentials_t?
    try check(gnutls_psk_allocate_client_credentials(&credentials), place)
    let result = withDatum(key) {
      gnutls_psk_set_client_credentials(credentials!, name, $0, GNUTLS_PSK_KEY_RAW)
    }
    do throws(TLSError) { try check(result, place) } catch {
      gnutls_psk_free_client_credentials(credentials!)
      throw error
    }
    return .connectingPSK(credentials!)
  }

  private static func certified(
    _ authorities: [UInt8], _ folder: borrowing CredentialFolder, _ side: Side
  ) throws(TLSError) -> (Kind, isAnonymous: Bool) {
    let path = folder.path
    let name = side == .listening ? "server" : "client"
    let certificate = try folder.read("\(name)-cert.pem")
    var key = try folder.read("\(name)-key.pem", isSecret: true)
    // Once GnuTLS has it, nobody else needs it.
    defer {
      key?.withUnsafeMutableBytes { bytes in
        if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
      }
    }
    guard (certificate == nil) == (key == nil) else {
      let (one, other) = certificate == nil ? ("key", "cert") : ("cert", "key")
      throw TLSError(.credentials, "\(path) has \(name)-\(one).pem and no \(name)-\(other).pem")
    }
    guard certificate != nil || side == .connecting else {
      throw TLSError(
        .credentials, "\(path) has no server-cert.pem",
        hint: "the side that listens shows it, with server-key.pem")
    }
    var made: gnutls_certificate_credentials_t?
    try check(gnutls_certificate_allocate_credentials(&made), path)
    let credentials = made!
    do throws(TLSError) {
      let count = withDatum(authorities) {
        gnutls_certificate_set_x509_trust_mem(credentials, $0, GNUTLS_X509_FMT_PEM)
      }
      try check(count == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : count, "\(path)/ca-cert.pem")
      if let revoked = try folder.read("ca-crl.pem") {
        let result = withDatum(revoked) {
          gnutls_certificate_set_x509_crl_mem(credentials, $0, GNUTLS_X509_FMT_PEM)
        }
        try check(result, "\(path)/ca-crl.pem")
      }
      guard let certificate, let key else { return (.x509(credentials), true) }
      let result = withDatum(certificate) { certificate in
        withDatum(key) {
          gnutls_certificate_set_x509_key_mem(credentials, certificate, $0, GNUTLS_X509_FMT_PEM)
        }
      }
      try check(
        result, "\(path)/\(name)-cert.pem and \(name)-key.pem",
        hint: "a key with a passphrase is not supported")
      let faults = try Certificate.faults(ofOwnIn: credentials, side)
      guard faults.isEmpty else {
        throw TLSError(
          .credentials, "\(path)/\(name)-cert.pem would be accepted nowhere: \(faults)")
      }
      return (.x509(credentials), false)
    } catch {
      gnutls_certificate_free_credentials(credentials)
      throw error
    }
  }

  static func check(_ result: Int32, _ place: String, hint: String? = nil) throws(TLSError) {
    guard result < 0 else { return }
    throw TLSError(
      .credentials, "\(place): \(String(cString: gnutls_strerror(result)))", hint: hint)
  }
}

/// Lends bytes to GnuTLS, which copies what it keeps.
func withDatum<Result>(
  _ bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> Result
) -> Result {
  bytes.withUnsafeBufferPointer { buffer in
    // It is read only, though the type does not say so, and lives as long as this closure.
    var datum = gnutls_datum_t(
      data: UnsafeMutablePointer(mutating: buffer.baseAddress), size: UInt32(buffer.count))
    return body(&datum)
  }
}
