import CGnuTLS
import Glibc
import System

/// One session of GnuTLS on a socket. It never waits: what it cannot do now it says, and is asked
/// again.
///
/// @unchecked Sendable: one thread at a time, the one that has its session's lock.
///
/// It does its own input and output, so that GnuTLS never meets the end of a connection or a failed
/// call: a session that has met one can do nothing any more, and one whose peer has gone silent, or
/// that reads no more itself, still has a verdict to send.
final class RecordLayer: @unchecked Sendable {
  /// How far something has come.
  enum Step: Equatable {
    /// It is done, with so many bytes.
    case done(Int)
    /// The peer has said that nothing follows.
    case goodbye
    /// The connection has ended, and the peer has not said so.
    case cut
    /// It needs what poll(2) can wait for.
    case waits(Int16)
  }

  let session: gnutls_session_t
  private let descriptor: Int32
  let credentials: TLSCredentials
  /// What must stay where it is as long as the session does: GnuTLS keeps no copy.
  private let asked: UnsafeMutablePointer<gnutls_typed_vdata_st>
  private let texts: [UnsafeMutablePointer<CChar>]
  let name: String?
  /// The head of the next record, as far as it is here: see ``pull(_:_:)``.
  private var head: UInt64 = 0
  private var headCount = 0
  /// What the socket has said: how reading has failed, with 0 for its end, and how writing has.
  private var readError: Int32?
  private var writeError: Int32?
  /// The handshake is done.
  var hasShaken = false
  /// Something of the other side's has come, behind its handshake.
  private(set) var isHeard = false
  /// Of a user whom there is no key of.
  var unknownUser: String?

  /// - Parameters:
  ///   - descriptor: a connected socket, which outlives this.
  ///   - name: whose certificate the listening side must have.
  init(
    _ descriptor: Int32, _ credentials: TLSCredentials, name: String?
  ) throws(TLSError) {
    self.descriptor = descriptor
    self.credentials = credentials
    self.name = name
    let listens = credentials.side == .listening
    // A ticket is for a connection that is made again, which none of these is.
    let flags = UInt32(listens ? GNUTLS_SERVER : GNUTLS_CLIENT) | UInt32(GNUTLS_NO_TICKETS)
    var made: gnutls_session_t?
    try Self.check(gnutls_init(&made, flags))
    session = made!
    let other: TLSCredentials.Side = listens ? .connecting : .listening
    texts = [strdup(Certificate.purpose(of: other))] + (name.map { [strdup($0)] } ?? [])
    asked = .allocate(capacity: 2)
    asked.initialize(
      to: gnutls_typed_vdata_st(
        type: GNUTLS_DT_KEY_PURPOSE_OID, data: Self.bytes(texts[0]), size: 0))
    (asked + 1).initialize(
      to: gnutls_typed_vdata_st(
        type: GNUTLS_DT_DNS_HOSTNAME, data: texts.count > 1 ? Self.bytes(texts[1]) : nil, size: 0))
    // From here on the deinitializer has it.
    try Self.check(gnutls_priority_set_direct(session, Self.priorities(credentials.kind), nil))
    let result: Int32
    switch credentials.kind {
    case .x509(let own):
      result = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(own))
      let request = credentials.wishes.takesAnybody ? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUIRE
      if listens { gnutls_certificate_server_set_request(session, request) }
      if !listens || request == GNUTLS_CERT_REQUIRE {
        gnutls_session_set_verify_cert2(session, asked, UInt32(texts.count), 0)
      }
    case .listeningPSK(let own, _):
      result = gnutls_credentials_set(session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(own))
    case .connectingPSK(let own):
      result = gnutls_credentials_set(session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(own))
    }
    try Self.check(result)
    // GnuTLS calls these only inside its own functions, which are called from here only.
    let this = Unmanaged.passUnretained(self).toOpaque()
    gnutls_session_set_ptr(session, this)
    gnutls_transport_set_ptr(session, this)
    gnutls_transport_set_pull_function(session) { this, data, size in
      Unmanaged<RecordLayer>.fromOpaque(this!).takeUnretainedValue().pull(data!, size)
    }
    gnutls_transport_set_push_function(session) { this, data, size in
      Unmanaged<RecordLayer>.fromOpaque(this!).takeUnretainedValue().push(data!, size)
    }
    // Whatever has failed: it is kept here, and to GnuTLS nothing but to wait is known.
    gnutls_transport_set_errno_function(session) { _ in EAGAIN }
  }

  deinit {
    gnutls_deinit(session)
    asked.deallocate()
    for text in texts { free(text) }
  }

  /// The session that GnuTLS calls back for.
  static func of(_ session: gnutls_session_t?) -> RecordLayer {
    // Set when it was made, and each calls back only while this calls it.
    Unmanaged<RecordLayer>.fromOpaque(gnutls_session_get_ptr(session)).takeUnretainedValue()
  }

  /// AES-GCM, which processors have instructions for, with the shorter key first: half as fast
  /// again. A QEMU as old as 7.2 speaks TLS 1.3 where its GnuTLS does; nothing before 1.2 is safe.
  private static func priorities(_ kind: TLSCredentials.Kind) -> String {
    let base =
      "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM"
      + ":+CHACHA20-POLY1305:%SERVER_PRECEDENCE"
    if case .x509 = kind { return base }
    // Keys that stay secret when the shared one no longer is.
    return base + ":-KX-ALL:+ECDHE-PSK:+DHE-PSK"
  }

  private static func bytes(_ text: UnsafeMutablePointer<CChar>) -> UnsafeMutablePointer<UInt8> {
    // A character is a byte; GnuTLS wants it unsigned.
    UnsafeMutableRawPointer(text).assumingMemoryBound(to: UInt8.self)
  }

  private static func check(_ result: Int32) throws(TLSError) {
    guard result < 0 else { return }
    throw TLSError(.refused, String(cString: gnutls_strerror(result)))
  }

  // MARK: Records

  /// Takes what has come, at least a byte of it and at most what fits.
  func receive(_ buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Step {
    while true {
      let count = gnutls_record_recv(session, buffer.baseAddress, buffer.count)
      if count > 0 {
        isHeard = true
        return .done(count)
      }
      if count == 0 { return .goodbye }
      if let step = try waiting(Int32(count), reads: true) { return step }
      // A warning, of which none matters.
      if gnutls_error_is_fatal(Int32(count)) == 0, count != Int(GNUTLS_E_REHANDSHAKE) { continue }
      throw refuse(Int32(count), text(Int32(count)))
    }
  }

  /// Sends the first of some bytes, as many as a record has.
  ///
  /// - Parameter again: this is what was to be sent when it waited.
  func send(_ bytes: UnsafeRawBufferPointer, again: Bool) throws(TLSError) -> Step {
    let count =
      again
      ? gnutls_record_send(session, nil, 0)
      : gnutls_record_send(session, bytes.baseAddress, min(bytes.count, Self.recordSize))
    if count >= 0 { return .done(count) }
    if let step = try waiting(Int32(count), reads: false) { return step }
    throw refuse(Int32(count), text(Int32(count)))
  }

  /// Says that nothing follows.
  func sayGoodbye() throws(TLSError) -> Step {
    let result = gnutls_bye(session, GNUTLS_SHUT_WR)
    if result >= 0 { return .done(0) }
    return try waiting(result, reads: false) ?? .done(0)
  }

  /// Sends with new keys from here on. GnuTLS does so itself when AES has done as many records as
  /// are safe.
  func rekey() throws(TLSError) -> Step {
    let result = gnutls_session_key_update(session, 0)
    if result >= 0 { return .done(0) }
    if let step = try waiting(result, reads: false) { return step }
    throw refuse(result, text(result))
  }

  /// There is no certificate to show of the side that connects.
  var isAnonymous: Bool { credentials.isAnonymous && credentials.side == .connecting }

  /// Bytes of a record that is here and opened.
  var pending: Int { gnutls_record_check_pending(session) }

  /// As in `TLS1.3, AES-128-GCM`.
  var description: String {
    let version = gnutls_protocol_get_name(gnutls_protocol_get_version(session))
    let cipher = gnutls_cipher_get_name(gnutls_cipher_get(session))
    return [version, cipher].compactMap { $0.map { String(cString: $0) } }.joined(separator: ", ")
  }

  /// The most that a record holds.
  static let recordSize = 16384

  /// What an answer that is no failure of TLS's means; nil of one that is.
  func waiting(_ result: Int32, reads: Bool) throws(TLSError) -> Step? {
    guard result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED else { return nil }
    switch reads ? readError : writeError {
    case nil: return .waits(Int16(reads ? POLLIN : POLLOUT))
    case 0: return .cut
    case let error?: throw TLSError(.system(error), SystemError("tls", errno: error).reason)
    }
  }

  /// Tells the peer, as far as that goes without waiting, that this is the end.
  func refuse(_ result: Int32, _ why: String) -> TLSError {
    gnutls_alert_send_appropriate(session, result)
    return TLSError(.refused, why)
  }

  func refuse(_ alert: gnutls_alert_description_t, _ why: String) -> TLSError {
    gnutls_alert_send(session, GNUTLS_AL_FATAL, alert)
    return TLSError(.refused, why)
  }

  func text(_ result: Int32) -> String {
    switch result {
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
      let alert = gnutls_alert_get(session)
      let name = gnutls_alert_get_name(alert).map { String(cString: $0) } ?? "alert \(alert)"
      let hint = isAnonymous ? " (there is no client-cert.pem)" : ""
      return "it does not accept this side: \(name)\(hint)"
    case GNUTLS_E_UNEXPECTED_PACKET_LENGTH, GNUTLS_E_UNSUPPORTED_VERSION_PACKET,
      GNUTLS_E_UNEXPECTED_PACKET, GNUTLS_E_RECORD_OVERFLOW:
      return "what it says is not TLS"
    case GNUTLS_E_REHANDSHAKE: return "it wants another handshake"
    default: return "TLS: \(String(cString: gnutls_strerror(result)))"
    }
  }

  // MARK: Input and output, for GnuTLS

  /// GnuTLS asks for the five bytes of a record's head, and then for the rest of the record. With
  /// the rest comes the head of the next: a call of the kernel less for each record, and no copy.
  private func pull(_ data: UnsafeMutableRawPointer, _ size: Int) -> Int {
    if headCount > 0 {
      let count = min(size, headCount)
      // Both have so many bytes.
      withUnsafeBytes(of: &head) { data.copyMemory(from: $0.baseAddress!, byteCount: count) }
      head >>= 8 * UInt64(count)
      headCount -= count
      return count
    }
    let count = withUnsafeMutableBytes(of: &head) { head in
      withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { pieces in
        // GnuTLS's memory, of the size that it says, and five bytes of our own.
        pieces.initializeElement(at: 0, to: iovec(iov_base: data, iov_len: size))
        pieces.initializeElement(
          at: 1, to: iovec(iov_base: head.baseAddress, iov_len: Self.headSize))
        var message = msghdr()
        message.msg_iov = pieces.baseAddress
        message.msg_iovlen = size > Self.headSize ? 2 : 1
        return recvmsg(descriptor, &message, Int32(MSG_DONTWAIT))
      }
    }
    if count > 0 {
      headCount = max(0, count - size)
      return count - headCount
    }
    if count == 0 { readError = 0 } else if errno != EAGAIN, errno != EINTR { readError = errno }
    return -1
  }

  private func push(_ data: UnsafeRawPointer, _ size: Int) -> Int {
    let count = Glibc.send(descriptor, data, size, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    guard count < 0, errno != EAGAIN, errno != EINTR else { return count }
    // Who leaves in the middle of a handshake may have said why: that is to be read.
    if !hasShaken, errno == EPIPE || errno == ECONNRESET { return size }
    writeError = errno
    return count
  }

  private static let headSize = 5
}
