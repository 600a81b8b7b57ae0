import PluginLoader
import Wire

/// The backends of a link by the index that packets bear: what was agreed, and who does it here.
public final class LinkBackends: PacketBackends {
  /// What was agreed.
  public let formats: LinkFormats
  /// With which key the pages of this side's reference are hashed; nil without one.
  public let reference: PageHashKey?
  private let loader: PluginLoader
  /// Of index 1, 2, …
  private let agreed: [(backend: Backend, options: OptionValues)]

  init(
    _ formats: LinkFormats, _ agreed: [(backend: Backend, options: OptionValues)],
    _ loader: PluginLoader, reference: PageHashKey? = nil
  ) {
    self.formats = formats
    self.agreed = agreed
    self.loader = loader
    self.reference = reference
  }

  /// The same on a link with a reference.
  public func with(reference: PageHashKey?) -> LinkBackends {
    LinkBackends(formats, agreed, loader, reference: reference)
  }

  /// Those that do it, as they were agreed.
  public var backends: [Backend] { agreed.map(\.backend) }

  /// Both sides have what the guest began with.
  public var haveReference: Bool { reference != nil }

  /// What the method bits of its channels mean.
  public var dialect: PacketDialect { .link(formats) }

  /// The one of an index. Pages as they are (index 0) are QEMU's method `none`.
  public func backend(for method: MultiFDMethod) throws -> (Backend, OptionValues) {
    if method.index > 0 { return agreed[method.index - 1] }
    let raw = try OutgoingFormat.raw(loader, .receive)
    return (raw.backend, raw.options)
  }
}
