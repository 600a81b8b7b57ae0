import Foundation
import Memory
import Observe
import PluginLoader
import Store
import Transport
import Wire

/// `multifd receive`: a running guest of a stock QEMU comes in and is held in a store.
///
///     listener -> lobby -> main channel        -> block list, sync points, device state
///                       -> channel 0 … n-1     -> packet -> backend -> stage -> RAM files
///     all pages in, device state in -> store durable -> SHUT 0 -> the source lets go
///
/// Whatever fails before "store durable" ends with SHUT 1 or a cut connection: the guest goes on at its
/// source, and the store is as it was.
public final class Receiver: Sendable {
  private let options: ReceiveOptions
  private let loader: PluginLoader
  private let session: ReceiveSession

  /// A reception that has not begun.
  public init(_ options: ReceiveOptions, loader: PluginLoader) {
    self.options = options
    self.loader = loader
    session = ReceiveSession(options)
  }

  /// Ends a reception from outside: a signal.
  public func cancel(_ exit: ExitCode, _ why: String) {
    session.fail(Failure(exit, "receive", why))
  }

  /// Listens, receives one guest, holds it.
  ///
  /// - Parameters:
  ///   - onListening: called once the source may connect.
  ///   - onProgress: called a few times a second while the guest comes in.
  /// - Throws: after the source has been told and the store swept.
  public func run(
    onListening: (Endpoint) -> Void, onProgress: @escaping @Sendable (ReceiveProgress) -> Void
  ) throws(Failure) -> ReceiveSummary {
    let choice = try BackendChoice(loader, options.compression)
    let store: Store
    let listener: Listener
    do {
      store = try Store.prepare(options.store)
      listener = try Listener(on: options.listen, timeout: options.timeout)
    } catch { throw Failure(error, at: "receive") }
    onListening(listener.endpoint)

    let lobby = Lobby(listener)
    let session = session
    let threads = ThreadGroup()
    threads.start("lobby") {
      let channels = ThreadGroup()
      lobby.run(onConnect: session.connected) { arrival in
        Self.admit(arrival, session, choice, channels)
      }
      channels.joinAll()
    }
    defer {
      lobby.close()
      session.finish()
      threads.joinAll()
    }
    let main: MainReceiver
    let socket: Socket
    do throws(Failure) {
      socket = try session.waitForMain()
      main = MainReceiver(socket, session, store)
    } catch {
      store.sweep()
      throw error
    }
    return try receive(main, socket, store, choice, onProgress)
  }

  private func receive(
    _ main: MainReceiver, _ socket: Socket, _ store: Store, _ choice: BackendChoice,
    _ onProgress: @escaping @Sendable (ReceiveProgress) -> Void
  ) throws(Failure) -> ReceiveSummary {
    let start = ContinuousClock.now
    let session = session
    let reporter = ThreadGroup()
    reporter.start("progress") {
      while !session.waitUntilOver(seconds: 0.2) { onProgress(session.progress(since: start)) }
    }
    do {
      try main.run()
      let manifest = main.manifest(uuid: session.uuid)
      try store.hold(
        manifest, blocks: main.stage?.guest ?? [], earlyState: main.earlyState,
        deviceState: main.deviceState, vmDescription: main.vmDescription)
      do {
        if main.sourceListens { try socket.write(ReturnPathMessage.shut(0).encode()) }
      } catch {
        throw Failure(
          .failed, "main channel", "the source is gone, it could not be told that its guest is held",
          hint: "the guest goes on at its source if that still lives")
      }
      let summary = ReceiveSummary(
        session: session, main: main, manifest: manifest, backend: choice.backend, start: start)
      session.finish()
      reporter.joinAll()
      // The source reads the verdict and closes; closing first could reset the connection under it.
      if main.sourceListens { socket.drain(seconds: min(5, options.timeout)) }
      return summary
    } catch {
      let failure = session.failure ?? Failure(error, at: "receive")
      session.fail(failure)
      reporter.joinAll()
      store.sweep()
      if main.sourceListens, (try? socket.write(ReturnPathMessage.shut(1).encode())) != nil {
        socket.finishWriting()
      }
      socket.cut()
      throw failure
    }
  }

  private static func admit(
    _ arrival: Lobby.Arrival, _ session: ReceiveSession, _ choice: BackendChoice,
    _ threads: ThreadGroup
  ) {
    switch arrival {
    case .main(let socket):
      // A second source is turned away, and the first does not notice.
      if !session.admitMain(socket) { socket.cut() }
    case .channel(let socket):
      guard session.admitUnnamed(socket) else { return socket.cut() }
      threads.start("multifd") { ChannelReceiver(socket, session, choice).run() }
    case .stranger(let socket, let bytes):
      socket.cut()
      guard !session.hasMain else { return }
      let hex = bytes.map { String(format: "%02x", $0) }.joined(separator: " ")
      session.fail(
        Failure(
          .corrupt, "receive", "the peer is no QEMU source: its first bytes are \(hex)",
          hint: "a migration begins with 51 45 56 4d, a multifd channel with 11 22 33 44; "
            + "TLS is not supported"))
    }
  }
}
