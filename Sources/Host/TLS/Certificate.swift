import CGnuTLS

/// What there is to say of certificates.
enum Certificate {
  /// What a side's certificate is for, in its own words where it has any (extended key usage).
  static func purpose(of side: TLSCredentials.Side) -> String {
    side == .listening ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT
  }

  /// Why a certificate is not accepted; empty where it is.
  ///
  /// - Parameters:
  ///   - status: what GnuTLS has found, a set of bits.
  ///   - name: what its subject must be called.
  static func faults(_ status: UInt32, name: String? = nil) -> String {
    let known: [(gnutls_certificate_status_t, String)] = [
      (GNUTLS_CERT_REVOKED, "it has been revoked"),
      (GNUTLS_CERT_SIGNER_NOT_FOUND, "no CA of ca-cert.pem has signed it"),
      (GNUTLS_CERT_SIGNER_NOT_CA, "who has signed it is no CA"),
      (GNUTLS_CERT_EXPIRED, "it has expired"),
      (GNUTLS_CERT_NOT_ACTIVATED, "it is not valid yet"),
      (GNUTLS_CERT_UNEXPECTED_OWNER, "it is not for '\(name ?? "")'"),
      (GNUTLS_CERT_PURPOSE_MISMATCH, "it is not for this side of a connection"),
      (GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, "ca-crl.pem is out of date"),
      (GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE, "ca-crl.pem is not valid yet"),
      (GNUTLS_CERT_INSECURE_ALGORITHM, "its signature is of a kind that can be forged"),
      (
        GNUTLS_CERT_SIGNATURE_FAILURE, "it is signed, but not by the CA of that name in ca-cert.pem"
      ),
      (GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "its CA may not sign it"),
    ]
    let found = known.filter { status & $0.0.rawValue != 0 }.map(\.1)
    if found.isEmpty, status != 0 { return "it is not valid (\(String(status, radix: 16)))" }
    return found.joined(separator: ", ")
  }

  /// Why nobody with these credentials would accept this side's own certificate.
  static func faults(
    ofOwnIn credentials: gnutls_certificate_credentials_t, _ side: TLSCredentials.Side
  ) throws(TLSError) -> String {
    var chain: [gnutls_x509_crt_t?] = []
    defer { for certificate in chain { gnutls_x509_crt_deinit(certificate) } }
    var encoded = gnutls_datum_t()
    // The credentials' own memory, as long as they are there.
    while gnutls_certificate_get_crt_raw(credentials, 0, UInt32(chain.count), &encoded) == 0 {
      chain.append(try certificate(&encoded))
    }
    var trusted: gnutls_x509_trust_list_t?
    gnutls_certificate_get_trust_list(credentials, &trusted)
    var status: UInt32 = 0
    let result = withPurpose(of: side) { purpose in
      gnutls_x509_trust_list_verify_crt2(
        trusted, &chain, UInt32(chain.count), purpose, 1, 0, &status, nil)
    }
    try TLSCredentials.check(result, "the certificate")
    return faults(status)
  }

  /// The subject's distinguished name, as QEMU's `authz-simple` sees it.
  static func subject(_ encoded: UnsafePointer<gnutls_datum_t>) throws(TLSError) -> String {
    let certificate = try certificate(encoded)
    defer { gnutls_x509_crt_deinit(certificate) }
    var size = 0
    gnutls_x509_crt_get_dn(certificate, nil, &size)
    var text = [CChar](repeating: 0, count: max(size, 1))
    size = text.count
    try TLSCredentials.check(gnutls_x509_crt_get_dn(certificate, &text, &size), "the certificate")
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  private static func certificate(
    _ encoded: UnsafePointer<gnutls_datum_t>
  ) throws(TLSError) -> gnutls_x509_crt_t? {
    var certificate: gnutls_x509_crt_t?
    try TLSCredentials.check(gnutls_x509_crt_init(&certificate), "the certificate")
    let result = gnutls_x509_crt_import(certificate, encoded, GNUTLS_X509_FMT_DER)
    guard result >= 0 else {
      gnutls_x509_crt_deinit(certificate)
      try TLSCredentials.check(result, "the certificate")
      return nil
    }
    return certificate
  }

  private static func withPurpose<Result>(
    of side: TLSCredentials.Side, _ body: (UnsafeMutablePointer<gnutls_typed_vdata_st>) -> Result
  ) -> Result {
    var text = Array(purpose(of: side).utf8) + [0]
    return text.withUnsafeMutableBufferPointer { buffer in
      // A C string, read only, and alive for this closure, as the text is.
      var data = gnutls_typed_vdata_st(
        type: GNUTLS_DT_KEY_PURPOSE_OID, data: buffer.baseAddress, size: 0)
      return body(&data)
    }
  }
}
