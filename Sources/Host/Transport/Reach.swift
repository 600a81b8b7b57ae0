import Glibc
import TLS

/// Who can come to a socket that listens.
enum Reach {
  /// Whether others than this machine can: its own address is neither a UNIX socket's nor one of
  /// the loopback device. 0.0.0.0 and [::] are all addresses that there are.
  static func isOpen(_ address: UnsafePointer<sockaddr>) -> Bool {
    Int32(address.pointee.sa_family) != AF_UNIX && !LoopbackFlow.isLoopback(address)
  }

  /// The same of what a socket is bound to, whatever it was asked for by.
  static func isOpen(_ descriptor: Int32) -> Bool {
    withOwnAddress(descriptor) { isOpen($0) } ?? true
  }

  /// What is said of one that is not to listen there without TLS.
  static func refusal(_ endpoint: Endpoint) -> TransportError {
    TransportError(
      .exposed, "cannot listen on \(endpoint) without TLS: others than this machine reach it")
  }
}

extension Listener {
  /// Refuses what ``init(on:timeout:tls:insecure:peer:)`` would refuse for whom it lets in, as far
  /// as that can be told before: for whoever does first what cannot be undone.
  ///
  /// A connection that was passed to this process is no matter of addresses: its peer is settled.
  public static func check(
    _ endpoint: Endpoint, tls: TLSCredentials?, insecure: Bool
  ) throws(TransportError) {
    guard tls == nil, !insecure else { return }
    if case .fd(let sockets) = endpoint {
      guard try !sockets.isOpen() else { throw Reach.refusal(endpoint) }
      return
    }
    // Of several addresses the first that can be had counts, which shows when it is bound.
    let isClosed = try endpoint.withAddresses(passive: true) { _, address, _ -> Bool? in
      Reach.isOpen(address) ? nil : true
    }
    guard isClosed == true else { throw Reach.refusal(endpoint) }
  }
}
