import Memory
import Migration
import PluginLoader
import Transport
import Wire

/// How a guest gets to its destination: the connections, and the formats that its pages can travel
/// in.
final class SendRoute {
  private let options: SendOptions
  /// Of a link.
  private let caller: LinkCaller?
  private let offer: LinkOffer?
  /// What pages can travel in: one, or what the best is chosen from. Of a link it is known when the
  /// main connection stands.
  private(set) var formats: [OutgoingFormat] = []
  /// What the method bits of packets mean: known when the main connection stands.
  private(set) var dialect = PacketDialect.qemu
  /// Of a link with a reference: what pages go in of which both sides have an old version.
  private(set) var deltas: OutgoingFormat?
  /// Of a link: what pages are hashed with.
  private let key = PageHashKey.random()
  private var hasReference = false

  /// - Throws: what cannot be, before anything is connected.
  init(_ options: SendOptions, pageSize: Int, _ loader: PluginLoader) throws(Failure) {
    self.options = options
    if options.channels == 0, options.compression != .asTheyCome {
      throw Failure(
        .usage, "send", "--compression is for multifd channels, and --channels is 0")
    }
    if options.reference != nil, !options.to.isLink || options.channels == 0 {
      throw Failure(
        .usage, "send", "--reference is for channels of a link",
        hint: "give --to link:URI, and not --channels 0; a QEMU gets all pages as they are")
    }
    if options.to.isLink {
      // Pages that lie here have no format yet: they come as they are.
      let wish =
        options.compression == .asTheyCome
        ? try LinkOffer(named: [], pageSize: pageSize, loader: loader)
        : try LinkOffer(options.compression, pageSize: pageSize, loader: loader)
      let differences =
        options.reference == nil
        ? []
        : loader.candidates().compactMap { try? $0.result.get() }
          .filter { $0.capabilities.contains(.reference) }
      offer = try wish.adding(differences, pageSize: pageSize)
      caller = LinkCaller(
        to: options.to.endpoint, tls: options.tls, timeout: options.timeout, pageSize: pageSize)
      return
    }
    (caller, offer) = (nil, nil)
    guard options.channels > 0 else { return }
    let format = try OutgoingFormat.forQEMU(
      options.compression, at: options.to, pageSize: pageSize, loader, "send")
    if let format { formats = [format] } else { formats = [try .raw(loader)] }
  }

  /// Makes the main connection.
  func main() throws(Failure) -> Socket {
    guard let caller, let offer else { return try connect() }
    let (socket, agreed, hasReference) = try caller.main(
      offering: offer.formats, required: offer.required, files: offer.files, reference: key)
    self.hasReference = hasReference
    dialect = .link(agreed)
    let all = try offer.outgoing(agreed)
    // What can use a reference has one on a link that has one, for every page: so not for all.
    let usable = hasReference ? all.filter { !$0.usesReference } : all
    if options.reference != nil, hasReference { deltas = all.first { $0.usesReference } }
    switch options.compression {
    case .asTheyCome: formats = [all[0]]
    case .named:
      // It was asked for by name, so it was agreed; pages as they are need not be.
      let name = offer.formats.prefix(offer.required).first?.name
      formats = [usable.first { $0.backend.wireFormat == name } ?? all[0]]
    case .auto: formats = usable
    }
    return socket
  }

  /// Reads what the far side has of the guest already, from the main connection as soon as it
  /// stands; nil: nothing.
  func reference(from main: Socket, for guest: [RAMBlock], pageSize: Int) throws -> FarPages? {
    guard hasReference else { return nil }
    return try FarPages(from: main, key, for: guest, pageSize: pageSize)
  }

  /// Makes the connection of a channel.
  func channel(_ id: Int) throws(Failure) -> Socket {
    if let caller { return try caller.channel(id) }
    return try connect()
  }

  private func connect() throws(Failure) -> Socket {
    do {
      return try Socket.connect(
        to: options.to.endpoint, timeout: options.timeout, tls: options.tls)
    } catch { throw Failure(error, at: "send") }
  }
}

extension OutgoingFormat {
  fileprivate var usesReference: Bool { backend.capabilities.contains(.reference) }
}
