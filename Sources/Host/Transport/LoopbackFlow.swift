import Glibc

/// What a connection within this machine needs no congestion control for.
///
/// BBR, where it is the system's choice, paces what is sent: in small pieces, by a timer. Where no
/// network is between the two that only costs processor time, twice to three times as much for a
/// relay.
package enum LoopbackFlow {
  /// Whether an address is one of this machine's loopback device.
  ///
  /// - Parameter address: valid for as many bytes as its family has.
  package static func isLoopback(_ address: UnsafePointer<sockaddr>) -> Bool {
    // The family says which of the two it is, and both begin with it.
    let bytes = UnsafeRawPointer(address)
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
      let host = bytes.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr
      return UInt32(bigEndian: host) >> 24 == 127
    case AF_INET6:
      var host = bytes.loadUnaligned(as: sockaddr_in6.self).sin6_addr
      return withUnsafeBytes(of: &host) { bytes in
        // ::1, and ::ffff:127.0.0.0/104, which is IPv4's.
        bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
          || bytes.prefix(13).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127])
      }
    default: return false
    }
  }

  /// Before it is connected: once BBR has begun, pacing stays. Reno is in every kernel, and
  /// everybody may use it.
  static func leavePacing(_ descriptor: Int32) {
    var name = [CChar](repeating: 0, count: 16)
    var length = socklen_t(name.count)
    guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length) == 0,
      name.starts(with: "bbr".utf8.map { CChar($0) })
    else { return }
    let reno = Array("reno".utf8)
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, reno, socklen_t(reno.count))
  }
}
