import PluginLoader
import Wire

/// What the connecting side of a link can encode: backends and their formats, best first.
public struct LinkOffer: Sendable {
  /// For the hello.
  public let formats: [LinkFormat]
  /// So many of them were asked for by name.
  public let required: Int
  /// What is in files that some of them are encoded with: the far side needs the same.
  public let files: [LinkFile]
  private let backends: [String: (backend: Backend, options: OptionValues)]
  private let loader: PluginLoader

  /// An offer of what an operator has asked for by name: without one of them there is no link.
  public init(named: [CompressionSpec], pageSize: Int, loader: PluginLoader) throws(Failure) {
    var formats: [LinkFormat] = []
    var backends: [String: (backend: Backend, options: OptionValues)] = [:]
    do {
      for spec in named {
        let backend = try loader.load(spec, to: .send)
        let options = try backend.parse(spec)
        // Pages as they are, every link has.
        guard backend.wireFormat != LinkFormat.raw else { continue }
        guard backends[backend.wireFormat] == nil else {
          throw Failure(
            .usage, "backend \(backend.name)",
            "its format \(backend.wireFormat) has been asked for already")
        }
        formats.append(try Self.format(of: backend, pageSize: pageSize))
        backends[backend.wireFormat] = (backend, options)
      }
    } catch { throw Failure(error, at: "link") }
    guard formats.count <= LinkFormats.most else {
      throw Failure(
        .usage, "link", "\(formats.count) formats, a link has room for \(LinkFormats.most)")
    }
    self.init(formats: formats, required: formats.count, backends: backends, loader: loader)
  }

  /// An offer for what an operator wishes.
  public init(_ wish: FormatWish, pageSize: Int, loader: PluginLoader) throws(Failure) {
    switch wish {
    case .asTheyCome:
      // What a QEMU may send, which then goes on as it is.
      let known = MultiFDMethod.compressing.compactMap {
        try? loader.load(qemuMethod: $0.rawValue, to: .send)
      }
      self = try LinkOffer(named: [], pageSize: pageSize, loader: loader)
        .adding(known, pageSize: pageSize)
    case .named(let spec): try self.init(named: [spec], pageSize: pageSize, loader: loader)
    case .auto(let specs):
      let all = specs.isEmpty ? loader.candidates().compactMap { try? $0.result.get() } : []
      self = try LinkOffer(named: specs, pageSize: pageSize, loader: loader)
        .adding(all, pageSize: pageSize)
    }
  }

  private init(
    formats: [LinkFormat], required: Int,
    backends: [String: (backend: Backend, options: OptionValues)], loader: PluginLoader
  ) {
    (self.formats, self.required) = (formats, required)
    files = formats.enumerated().flatMap { index, format in
      (backends[format.name]?.options.files ?? []).compactMap { file in
        LinkFile(
          format: index + 1, option: file.option, size: file.contents.count, digest: file.digest)
      }
    }
    (self.backends, self.loader) = (backends, loader)
  }

  /// The same and, last, what others may be used for where the far side has it too; those that are
  /// no link's, or beyond what a link has room for, are left out.
  public func adding(_ others: [Backend], pageSize: Int) throws(Failure) -> LinkOffer {
    var (formats, backends) = (formats, backends)
    for backend in others
    where backends[backend.wireFormat] == nil && backend.capabilities.have(.send) {
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
          method: formats.method(of: index + 1), backend: backend, options: options,
          loader: loader)
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
