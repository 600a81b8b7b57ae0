import Migration
import PluginLoader
import Wire

/// What a relay does with the packets of all channels: settled when the main connections stand.
struct RelayPlan: Sendable {
  /// What becomes of packets.
  enum Rule: Sendable {
    /// They go on as they came.
    case transparent
    /// Those of a method that stands here go on with other method bits, the rest as pages.
    case translate([MultiFDMethod: MultiFDMethod])
    /// They become the one outgoing format; those with the method bits `alike` are that already.
    case encode(alike: MultiFDMethod?)
    /// They become whatever outgoing format is the fastest.
    case choose
  }

  var rule: Rule
  /// What the method bits of what comes mean.
  var incoming: PacketDialect
  /// And of what goes out.
  var far = PacketDialect.qemu
  /// Who decodes what comes; nil where nothing has to be.
  var decoding: (any PacketBackends)?
  /// What can be sent where something has to be encoded.
  var outgoing: [OutgoingFormat] = []
  /// The far side's reference passes before its return path.
  var hasReference = false

  /// With which method bits a packet goes on untouched; nil: it has to be decoded and encoded.
  func passing(_ packet: borrowing Packet) -> MultiFDMethod? {
    let method = packet.header.flags.method
    // A device's state has no method.
    if packet.deviceState != nil { return MultiFDMethod.none }
    switch rule {
    case .transparent: return method
    case .translate(let methods):
      return methods[method] ?? (packet.normal.isEmpty ? MultiFDMethod.none : nil)
    case .encode(let alike):
      // Also packets that have zero pages only bear the method (SPECIFICATION section 4.6).
      let own = outgoing[0].method
      if packet.normal.isEmpty { return packet.hasPages ? own : MultiFDMethod.none }
      return method == alike ? own : nil
    case .choose: return packet.normal.isEmpty ? MultiFDMethod.none : nil
    }
  }
}
