import CLinux
import Glibc

/// The host that a connection comes from, as far as its address tells before it has said a word.
///
/// Of IPv6 the network's 64 bits are the host: whoever has one address there has all of them. Only
/// of link-local addresses, whose network is everybody's, it is the whole address.
public struct Origin: Hashable, Sendable, CustomStringConvertible {
  private let family: Int32
  private let network: UInt64
  private let host: UInt64

  /// Of an address; what has none, or one of a family that is not known, is of this machine or of
  /// one host together.
  package init(_ address: sockaddr_storage) {
    (family, network, host) = withUnsafeBytes(of: address) { bytes in
      // The family says which of the two it is; sockaddr_storage is made to hold both.
      switch Int32(address.ss_family) {
      case AF_INET:
        let host = bytes.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr
        return (AF_INET, 0, UInt64(UInt32(bigEndian: host)))
      case AF_INET6:
        let parts = withUnsafeBytes(of: bytes.loadUnaligned(as: sockaddr_in6.self).sin6_addr) {
          (
            $0.loadUnaligned(as: UInt64.self).bigEndian,
            $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
          )
        }
        // ::ffff:0:0/96 is IPv4; fe80::/10 is the link's.
        if parts.0 == 0, parts.1 >> 32 == 0xffff { return (AF_INET, 0, parts.1 & 0xffff_ffff) }
        let isWhole = parts.0 == 0 || parts.0 >> 54 == 0xfe80 >> 6
        return (AF_INET6, parts.0, isWhole ? parts.1 : 0)
      default: return (Int32(address.ss_family), 0, 0)
      }
    }
  }

  /// It is of this machine: who may connect there is said by a file's mode.
  public var isLocal: Bool { family == AF_UNIX || family == AF_UNSPEC }

  /// The address; of an IPv6 network its prefix.
  public var description: String {
    // With all types said: to find them out takes the compiler seconds.
    switch family {
    case AF_INET:
      let bytes: [String] = (0..<4).map { index in
        let byte: UInt64 = host >> (24 - 8 * UInt64(index)) & 0xff
        return String(byte)
      }
      return bytes.joined(separator: ".")
    case AF_INET6:
      let groups: [String] = [network, host].flatMap { (half: UInt64) in
        (0..<4).map { index in
          let group: UInt64 = half >> (48 - 16 * UInt64(index)) & 0xffff
          return String(group, radix: 16)
        }
      }
      return host == 0 && network != 0
        ? groups[..<4].joined(separator: ":") + "::/64" : groups.joined(separator: ":")
    default: return "this machine"
    }
  }

  /// Of those that are here, the oldest first, who makes room for another: the oldest of the host
  /// that has the most. So whoever fills a place takes it from himself, and not from a source that
  /// has fewer.
  ///
  /// - Returns: its index; nil where nobody is here.
  package static func surplus(of visitors: some Collection<Origin>) -> Int? {
    var counts: [Origin: Int] = [:]
    for visitor in visitors { counts[visitor, default: 0] += 1 }
    guard let most = counts.values.max() else { return nil }
    // Of several that have as many, the one who has been here longest.
    return visitors.enumerated().first { counts[$0.element] == most }?.offset
  }
}

/// How often a host may do something: so many times at once, and then so many a second.
struct Allowance: Sendable {
  private let interval: Duration
  private let ahead: Duration
  /// When each would have used up what it has taken. Who has nothing to use up is in no list.
  private var dues: [Origin: ContinuousClock.Instant] = [:]
  /// Whoever has so many addresses is not held by them: the list is begun anew.
  private static let mostHosts = 4096

  init(burst: Int, perSecond: Int) {
    interval = .seconds(1) / perSecond
    ahead = interval * (burst - 1)
  }

  /// Once more. From this machine as often as it likes.
  ///
  /// - Returns: whether it may.
  mutating func take(_ origin: Origin, at now: ContinuousClock.Instant = .now) -> Bool {
    guard !origin.isLocal else { return true }
    let due = max(dues[origin] ?? now, now)
    guard due - now <= ahead else { return false }
    if dues.count >= Self.mostHosts {
      dues = dues.filter { $0.value > now }
      if dues.count >= Self.mostHosts { dues = [:] }
    }
    dues[origin] = due + interval
    return true
  }
}
