import PluginLoader
import Wire

/// Which backend decodes a channel's packets.
public protocol PacketBackends: Sendable {
  /// The one for packets with these method bits, which are some of the channel's dialect.
  ///
  /// - Throws: why there is none.
  func backend(for method: MultiFDMethod) throws -> (Backend, OptionValues)
  /// Whether those that can use a reference are given one: what the pages were before.
  var haveReference: Bool { get }
}

extension PacketBackends {
  /// They are not, but on a link with a reference.
  public var haveReference: Bool { false }
}
