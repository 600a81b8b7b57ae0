import CGnuTLS

/// Who is at the other end.
extension RecordLayer {
  /// Goes on with it. `done` when it is.
  func handshake() throws(TLSError) -> Step {
    let result = gnutls_handshake(session)
    if result >= 0 {
      hasShaken = true
      try checkSubject()
      return .done(0)
    }
    if let step = try waiting(result, reads: gnutls_record_get_direction(session) == 0) {
      return step
    }
    if result == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR {
      let status = gnutls_session_get_verify_cert_status(session)
      throw refuse(
        result, "its certificate is not accepted: \(Certificate.faults(status, name: name))")
    }
    if let unknownUser {
      throw refuse(result, "keys.psk has no key of '\(unknownUser)', as whom it comes")
    }
    if credentials.side == .listening,
      result == GNUTLS_E_NO_CERTIFICATE_FOUND
        || result == GNUTLS_E_CERTIFICATE_REQUIRED
    {
      throw refuse(result, "it has shown no certificate")
    }
    throw refuse(result, text(result))
  }

  /// Looks for a subject among those that may come. Behind the handshake, as QEMU does.
  private func checkSubject() throws(TLSError) {
    guard !credentials.wishes.subjects.isEmpty else { return }
    var count: UInt32 = 0
    // The session's own memory, the peer's certificate first.
    guard let chain = gnutls_certificate_get_peers(session, &count), count > 0 else {
      throw refuse(GNUTLS_A_CERTIFICATE_REQUIRED, "it has shown no certificate")
    }
    let subject = try Certificate.subject(chain)
    guard credentials.wishes.subjects.contains(subject) else {
      throw refuse(GNUTLS_A_ACCESS_DENIED, "its subject '\(subject)' is none that may come")
    }
  }

  /// For GnuTLS: the key of a user.
  func find(_ name: UnsafePointer<CChar>?, _ key: UnsafeMutablePointer<gnutls_datum_t>?) -> Int32 {
    guard case .listeningPSK(_, let keys) = credentials.kind, let name, let key else { return -1 }
    let text = String(cString: name)
    guard let found = keys[text], let memory = multifd_gnutls_alloc(found.count) else {
      unknownUser = text
      return -1
    }
    // As many bytes as were asked for, GnuTLS's from now on.
    memory.copyMemory(from: found, byteCount: found.count)
    key.pointee.data = memory.assumingMemoryBound(to: UInt8.self)
    key.pointee.size = UInt32(found.count)
    return 0
  }
}
