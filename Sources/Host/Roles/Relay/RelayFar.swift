import Migration
import PluginLoader
import Transport
import Wire

/// A relay's far side: makes the connections to where the guest goes, and settles how its pages get
/// there.
final class RelayFar: Sendable {
  private let options: RelayOptions
  private let loader: PluginLoader
  /// Of a link.
  private let caller: LinkCaller?
  /// What a link is offered.
  private let offer: LinkOffer?
  /// What a QEMU gets; nil: what comes.
  private let format: OutgoingFormat?

  /// - Throws: what cannot be, before anybody has connected.
  init(_ options: RelayOptions, _ loader: PluginLoader) throws(Failure) {
    self.options = options
    self.loader = loader
    guard options.to.isLink else {
      (caller, offer) = (nil, nil)
      format = try .forQEMU(
        options.compression, at: options.to, pageSize: options.pageSize, loader, "relay")
      return
    }
    format = nil
    offer = try LinkOffer(options.compression, pageSize: options.pageSize, loader: loader)
    caller = LinkCaller(
      to: options.to.endpoint, tls: options.toTLS, timeout: options.timeout,
      pageSize: options.pageSize)
  }

  /// Connects for a source that is a QEMU.
  func main() throws(Failure) -> (Socket, RelayPlan) {
    let decoding = try BackendChoice(loader, nil)
    var plan = RelayPlan(rule: .transparent, incoming: .qemu, decoding: decoding)
    guard let caller, let offer else {
      if let format {
        plan.outgoing = [format]
        plan.rule = .encode(alike: format.method)
      }
      return (try connect(), plan)
    }
    let (socket, formats, _) = try caller.main(
      offering: offer.formats, required: offer.required, files: offer.files)
    let outgoing = try offer.outgoing(formats)
    plan.far = .link(formats)
    switch options.compression {
    case .asTheyCome:
      plan.outgoing = [outgoing[0]]
      plan.rule = .translate(
        Dictionary(
          uniqueKeysWithValues: outgoing.map {
            (MultiFDMethod(rawValue: $0.backend.qemuMethod ?? 0), $0.method)
          }))
    case .named:
      plan.outgoing = [outgoing[outgoing.count - 1]]
      // A QEMU's channel has one method: what is alike is one stream, with one state.
      plan.rule = .encode(
        alike: plan.outgoing[0].backend.qemuMethod.map { MultiFDMethod(rawValue: $0) })
    case .auto:
      plan.outgoing = outgoing
      plan.rule = .choose
    }
    return (socket, plan)
  }

  /// Connects for a source that is a link's.
  ///
  /// - Returns: with the formats for the answer.
  /// - Throws: `LinkRefusal` where there are none.
  func main(_ hello: LinkHello, _ host: LinkHost) throws -> (Socket, RelayPlan, LinkFormats) {
    if let caller, options.compression == .asTheyCome {
      // Whoever is at the ends agrees; nothing is decoded here.
      let (socket, formats, hasReference) = try caller.main(
        offering: hello.formats, required: hello.required, files: hello.files,
        reference: hello.reference)
      var plan = RelayPlan(
        rule: .transparent, incoming: .link(formats), far: .link(formats))
      plan.hasReference = hasReference
      return (socket, plan, formats)
    }
    let decoding = try host.agree(with: hello, loader: loader, only: nil)
    var plan = RelayPlan(rule: .choose, incoming: decoding.dialect, decoding: decoding)
    guard let caller, let offer else {
      plan.outgoing = [try format ?? OutgoingFormat.raw(loader)]
      plan.rule = rule(for: plan.outgoing[0])
      return (try connect(), plan, decoding.formats)
    }
    let (socket, formats, _) = try caller.main(
      offering: offer.formats, required: offer.required, files: offer.files)
    plan.outgoing = try offer.outgoing(formats)
    plan.far = .link(formats)
    if case .named = options.compression {
      plan.outgoing = [plan.outgoing[plan.outgoing.count - 1]]
      plan.rule = rule(for: plan.outgoing[0])
    }
    return (socket, plan, decoding.formats)
  }

  /// Connects for a channel.
  func channel(_ id: Int) throws(Failure) -> Socket {
    if let caller { return try caller.channel(id) }
    return try connect()
  }

  /// A link's packets may be of several formats, in turns: what has a state is encoded anew, for
  /// two states would be mixed.
  private func rule(for format: OutgoingFormat) -> RelayPlan.Rule {
    .encode(alike: format.backend.wireFormat == LinkFormat.raw ? MultiFDMethod.none : nil)
  }

  private func connect() throws(Failure) -> Socket {
    do {
      return try Socket.connect(
        to: options.to.endpoint, timeout: options.timeout, tls: options.toTLS)
    } catch { throw Failure(error, at: "destination") }
  }
}
