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
    let index = Int(method.rawValue >> 1)
    if index > 0 { return agreed[index - 1] }
    let raw = try loader.load(qemuMethod: MultiFDMethod.none.rawValue)
    return (raw, try raw.parse([]))
  }
}

/// What the connecting side of a link can encode: backends and their formats, best first.
public struct LinkOffer: Sendable {
  /// For the hello.
  public let formats: [LinkFormat]
  /// So many of them were asked for by name.
  public let required: Int
  private let backends: [String: (backend: Backend, options: OptionValues)]
  private let loader: PluginLoader

  /// An offer.
  ///
  /// - Parameters:
  ///   - named: what the operator has asked for by name: without one of them there is no link.
  ///   - others: what may be used where the far side has it too.
  public init(
    named: [CompressionSpec], others: [Backend] = [], pageSize: Int, loader: PluginLoader
  ) throws(Failure) {
    var formats: [LinkFormat] = []
    var backends: [String: (backend: Backend, options: OptionValues)] = [:]
    func add(_ backend: Backend, _ options: OptionValues) throws(Failure) {
      // Pages as they are, every link has.
      guard backend.wireFormat != LinkFormat.raw else { return }
      guard backends[backend.wireFormat] == nil else {
        throw Failure(
          .usage, "backend \(backend.name)",
          "its format \(backend.wireFormat) has been asked for already")
      }
      formats.append(try Self.format(of: backend, pageSize: pageSize))
      backends[backend.wireFormat] = (backend, options)
    }
    do {
      for spec in named {
        let backend = try loader.load(named: spec.name)
        try add(backend, try backend.parse(spec))
      }
      required = formats.count
      for backend in others where backends[backend.wireFormat] == nil {
        try add(backend, try backend.parse([]))
      }
    } catch { throw Failure(error, at: "link") }
    guard formats.count <= LinkFormats.most else {
      throw Failure(
        .usage, "link",
        "\(formats.count) formats, a link has room for \(LinkFormats.most)")
    }
    self.formats = formats
    self.backends = backends
    self.loader = loader
  }

  /// An offer for what an operator wishes.
  public init(_ wish: FormatWish, pageSize: Int, loader: PluginLoader) throws(Failure) {
    switch wish {
    case .asTheyCome:
      // What a QEMU may send, which then goes on as it is.
      let known = MultiFDMethod.compressing.compactMap {
        try? loader.load(qemuMethod: $0.rawValue)
      }
      try self.init(named: [], others: known, pageSize: pageSize, loader: loader)
    case .named(let spec): try self.init(named: [spec], pageSize: pageSize, loader: loader)
    case .auto(let specs):
      let all = specs.isEmpty ? loader.candidates().compactMap { try? $0.result.get() } : []
      try self.init(named: specs, others: all, pageSize: pageSize, loader: loader)
    }
  }

  private init(
    formats: [LinkFormat], required: Int,
    backends: [String: (backend: Backend, options: OptionValues)], loader: PluginLoader
  ) {
    (self.formats, self.required) = (formats, required)
    (self.backends, self.loader) = (backends, loader)
  }

  /// The same and, last, what others may be used for where the far side has it too; those that are
  /// no link's, or beyond what a link has room for, are left out.
  public func adding(_ others: [Backend], pageSize: Int) throws(Failure) -> LinkOffer {
    var (formats, backends) = (formats, backends)
    for backend in others where backends[backend.wireFormat] == nil {
      guard formats.count < LinkFormats.most,
        let format = try? Self.format(of: backend, pageSize: pageSize)
      else { continue }
      formats.append(format)
      do { backends[backend.wireFormat] = (backend, try backend.parse([])) } catch {
        throw Failure(error, at: "link")
      }
    }
    return LinkOffer(formats: formats, required: required, backends: backends, loader: loader)
  }

  /// Who encodes what was agreed, which is a part of the offer: by index, pages as they are first.
  public func outgoing(_ formats: LinkFormats) throws(Failure) -> [OutgoingFormat] {
    [try OutgoingFormat.raw(loader)]
      + formats.agreed.enumerated().map { index, format in
        let (backend, options) = backends[format.name]!
        return OutgoingFormat(
          method: formats.method(of: index + 1), backend: backend, options: options)
      }
  }

  /// A backend's format as it is said on a link.
  static func format(of backend: Backend, pageSize: Int) throws(Failure) -> LinkFormat {
    let pages = MultiFDPacketHeader.capacity(pageSize: pageSize)
    let bound = backend.payloadBound(pageSize: pageSize, pageCount: pages)
    let obstacle = BackendRole.link.obstacle(backend, pageSize: pageSize)
    guard obstacle == nil, let bound,
      let format = LinkFormat(backend.wireFormat, bound: UInt32(clamping: bound))
    else {
      throw Failure(
        .refused, "backend \(backend.name)",
        obstacle ?? "\(backend.wireFormat) with payloads of 0 bytes is no format of a link")
    }
    return format
  }
}
