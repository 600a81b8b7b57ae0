// TLS's tests: folders of credentials that can be used and that cannot, handshakes between sides
// that take each other and that do not, records both ways at once.

import Foundation
import TLS
import TestSupport
import Testing

/// A connected pair of sockets.
final class Pair: Sendable {
  let ends: (Int32, Int32)

  init(seconds: Double = 20) throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let one = try #require(Sockets.connect(port: port))
    ends = (one, Sockets.accept(listener))
    var limit = timeval(tv_sec: Int(seconds), tv_usec: Int(seconds * 1e6) % 1_000_000)
    for end in [ends.0, ends.1] {
      for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        setsockopt(end, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
      }
    }
  }

  deinit {
    close(ends.0)
    close(ends.1)
  }
}

/// Both sides of a connection, and how each has come through the handshake.
struct Handshake: Sendable {
  let pair: Pair
  let connecting: Result<TLSSession, TLSError>
  let listening: Result<TLSSession, TLSError>

  init(
    _ client: TLSCredentials, _ server: TLSCredentials, name: String? = "127.0.0.1",
    seconds: Double = 20
  ) throws {
    let pair = try Pair(seconds: seconds)
    self.pair = pair
    let ends = Monitor<[Result<TLSSession, TLSError>?]>([nil, nil])
    inThreads(2) { index in
      let result = Result { () throws(TLSError) -> TLSSession in
        let session =
          try index == 0
          ? TLSSession(pair.ends.0, client, name: name) : TLSSession(pair.ends.1, server)
        try session.shake(within: 10)
        return session
      }
      // Who has failed lets go, and the other one sees it.
      if case .failure = result { shutdown(index == 0 ? pair.ends.0 : pair.ends.1, Int32(SHUT_WR)) }
      ends.update { $0[index] = result }
    }
    connecting = ends.read { $0[0]! }
    listening = ends.read { $0[1]! }
  }

  /// Why the listening side has refused the other one.
  var refusal: String? { if case .failure(let error) = listening { error.message } else { nil } }
  /// Why the connecting side has; in TLS 1.3 that of the other shows only when it reads.
  var reason: String? {
    switch connecting {
    case .failure(let error): return error.message
    case .success(let session):
      do { _ = try session.bytes(1) } catch { return "\(error)" }
      return nil
    }
  }
}

/// Credentials for both sides from one authority.
func credentials(
  server: CertificateAuthority.Subject? = .init("server"),
  client: CertificateAuthority.Subject? = .init("client"),
  _ wishes: (inout TLSCredentials.Wishes) -> Void = { _ in }
) throws -> (client: TLSCredentials, server: TLSCredentials) {
  let folder = try TemporaryFolder()
  try CertificateAuthority().fill(folder, server: server, client: client)
  var all = TLSCredentials.Wishes()
  wishes(&all)
  return (
    try TLSCredentials(in: folder.path, for: .connecting),
    try TLSCredentials(in: folder.path, for: .listening, all)
  )
}
