/// What the method bits of a channel's packets mean.
///
/// Between two hosts of ours a channel is QEMU's in everything else (docs/LINK.md section 5).
public enum PacketDialect: Equatable, Sendable {
  /// QEMU's compression methods: one bit each.
  case qemu
  /// An index into the formats that the two sides of a link have agreed on.
  case link(LinkFormats)

  /// Refuses method bits that mean nothing here. `offset` is where the packet begins.
  func check(_ flags: MultiFDFlags, at offset: UInt64) throws(WireError) {
    switch self {
    case .qemu:
      guard flags.method.isKnown else {
        throw WireError(
          .unknownFlags, at: offset + 8,
          "multifd packet flags \(hex(flags.rawValue)): one method at most can be")
      }
    case .link(let formats): _ = try formats.index(of: flags, at: offset)
    }
  }

  /// The wire format of packets with these method bits.
  public func format(of method: MultiFDMethod) -> String {
    switch self {
    // QEMU's formats have its methods' names (FORMATS.md).
    case .qemu: "\(method.name)/1"
    case .link(let formats): formats[method.index]?.name ?? LinkFormat.raw
    }
  }

  /// The most payload bytes that a packet with these flags may have; nil where nothing was agreed.
  func bound(of flags: MultiFDFlags) -> Int? {
    guard case .link(let formats) = self else { return nil }
    return formats[flags.method.index].map { Int($0.bound) }
  }
}
