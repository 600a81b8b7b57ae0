import Migration
import PluginLoader
import Store
import Synchronization
import System
import Transport
import Wire

/// Takes a connection that is none of the source's, with what it has brought; returns at once.
typealias ControlTaker = @Sendable (Socket, [UInt8]) -> Void

/// Who comes in to a reception: the connections of a QEMU, or those of a link. Whichever main
/// connection is the first says which.
final class Entrance: Sendable {
  private let session: Session
  private let choice: BackendChoice
  private let loader: PluginLoader
  private let options: ReceiveOptions
  private let strangers: StrangerLog
  /// Takes the connection of a protect, with its hello.
  private let onControl: ControlTaker?
  /// The formats of a link, once there is one.
  private let link = Mutex<LinkBackends?>(nil)
  /// What the guest may begin with.
  let reference: Store.Reference?

  init(
    _ session: Session, _ options: ReceiveOptions, _ loader: PluginLoader, _ strangers: StrangerLog,
    onControl: ControlTaker? = nil
  ) throws(Failure) {
    self.onControl = onControl
    self.session = session
    self.options = options
    self.loader = loader
    self.strangers = strangers
    choice = try BackendChoice(loader, options.compression)
    do {
      reference = try options.reference.map { path throws(StoreError) in
        try Store.Reference(at: path, pageSize: options.limits.pageSize)
      }
    } catch { throw Failure(error, at: "reference") }
  }

  /// The key with which the source wants to know what the reference has; nil where it does not.
  var referenceKey: PageHashKey? { link.withLock { $0?.reference } }

  /// The backends that pages come through, as far as that is known.
  var backends: [Backend] {
    link.withLock { $0?.backends } ?? [choice.backend].compactMap(\.self)
  }

  /// What the method bits of packets mean, as far as that is known.
  var dialect: PacketDialect { link.withLock { $0?.dialect } ?? .qemu }

  /// Lets one in, or not. For the lobby's thread, and quick: nobody else comes in meanwhile.
  func admit(_ arrival: Lobby.Arrival, _ host: LinkHost, _ threads: ThreadGroup) {
    switch arrival {
    case .main(let socket):
      guard !session.admitMain(socket) else { break }
      // A second source is turned away, and the first does not notice.
      strangers.note(.second, from: socket.origin)
      socket.cut()
    case .channel(let socket):
      guard link.withLock({ $0 == nil }), session.admitUnnamed(socket) else {
        strangers.note(.second, from: socket.origin)
        return socket.cut()
      }
      start(threads, ChannelReceiver(socket, session, .qemu, choice, pageSize: pageSize))
    case .letter(let socket, let letter):
      if let onControl, letter.starts(with: ControlHello.magic) {
        onControl(socket, letter)
      } else {
        admit(socket, letter, host, threads)
      }
    case .stranger(let stranger, let origin):
      session.turnedAway(stranger, from: origin)
      strangers.note(stranger, from: origin)
    case .trouble(let error): strangers.note(error)
    }
  }

  /// Answers a hello; behind an accepted one is the stream of a QEMU.
  private func admit(
    _ socket: Socket, _ letter: [UInt8], _ host: LinkHost, _ threads: ThreadGroup
  ) {
    do throws(LinkRefusal) {
      let hello = try host.read(letter)
      switch hello.role {
      case .main:
        guard !session.hasMain else { throw .taken }
        let backends = try host.agree(with: hello, loader: loader, only: options.compression)
          .with(reference: reference == nil ? nil : hello.reference)
        link.withLock { $0 = backends }
        let accepted = LinkAnswer.accepted(
          backends.formats, reference: backends.reference != nil)
        guard answer(socket, accepted), session.admitMain(socket) else {
          return link.withLock { $0 = nil }
        }
        host.admit(hello)
      case .channel(let id):
        guard let backends = link.withLock({ $0 }), session.admitUnnamed(socket) else {
          throw LinkRefusal("channel \(id) comes too late")
        }
        host.admit(hello)
        // If it cannot be told, its receiver meets the end of it.
        _ = answer(socket, .accepted(.rawOnly))
        start(
          threads,
          ChannelReceiver(
            socket, session, backends.dialect, backends, pageSize: pageSize, announced: Int(id)))
      }
    } catch {
      strangers.note(error)
      socket.refuse(error)
    }
  }

  private var pageSize: Int { options.limits.pageSize }

  /// An answer fits what a new connection's buffer has room for.
  private func answer(_ socket: Socket, _ answer: LinkAnswer) -> Bool {
    (try? socket.write(answer.encode())) != nil
  }

  private func start(_ threads: ThreadGroup, _ channel: ChannelReceiver) {
    // Its thread alone has it from here on.
    nonisolated(unsafe) let channel = channel
    do { try threads.start("multifd") { channel.run() } } catch {
      session.fail(Failure(error, at: "multifd channel"))
    }
  }
}
