// Receive: a guest comes in and is held. Knows nothing of what may become of it then.

import COLO
import Foundation
import Memory
import Migration
import Observe
import PluginLoader
import Store
import Synchronization
import System
import Transport
import Wire

/// `multifd receive`: a running guest of a stock QEMU comes in and is held in a store.
///
///     listener -> lobby -> main channel        -> block list, sync points, device state
///                       -> channel 0 … n-1     -> packet -> backend -> stage -> RAM files
///     all pages in, device state in -> store durable -> SHUT 0 -> the source has it -> held
///
/// Whatever fails before "store durable" ends with SHUT 1 or a cut connection: the guest goes on at
/// its source, and the store is as it was. What fails behind it is told as what it is
/// (`MainReceiver.Whereabouts`).
public final class Receiver: Sendable {
  let options: ReceiveOptions
  private let loader: PluginLoader
  let strangers: StrangerLog
  let log: @Sendable (String) -> Void
  let session: Session
  let events: ReceiverEvents
  let figures = Mutex(ReceptionFigures())

  /// Seconds that threads may take to end once their connections have been cut. One that takes
  /// longer is inside a backend that does not come back, or waits for storage that does not answer.
  private static let patience = 1.0
  private let left = Atomic(false)

  /// A reception that has not begun.
  ///
  /// - Parameters:
  ///   - events: told while it goes on.
  ///   - log: gets a line for connections that are none of the source's.
  public init(
    _ options: ReceiveOptions, loader: PluginLoader, events: ReceiverEvents = ReceiverEvents(),
    log: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.options = options
    self.loader = loader
    strangers = StrangerLog(log)
    self.log = log
    self.events = events
    session = Session(
      timeout: options.timeout, channels: options.channels, uuid: options.uuid,
      onFailure: events.failing)
  }

  /// Threads were left behind when it ended: they may be inside the guest's memory still, and end
  /// with the process.
  public var hasLeftThreads: Bool { left.load(ordering: .relaxed) }

  /// Ends a reception from outside: a signal.
  public func cancel(_ kind: Failure.Kind, _ why: String) { cancel(Failure(kind, "receive", why)) }

  /// Ends it for any reason.
  public func cancel(_ failure: Failure) { session.fail(failure) }

  /// Listens, receives one guest, holds it.
  ///
  /// - Parameters:
  ///   - onListening: called once the source may connect.
  ///   - onProgress: called a few times a second while the guest comes in.
  /// - Throws: after the source has been told and the store swept.
  public func run(
    onListening: (Endpoint) -> Void, onProgress: @escaping @Sendable (ReceiveProgress) -> Void
  ) throws(Failure) -> ReceiveSummary {
    try serve(onListening, PlainReception()) { (main, socket, store, entrance) throws(Failure) in
      let start = ContinuousClock.now
      return try untilHeld(main, socket, store, onProgress) {
        try begin(main, entrance)
        try main.run()
        if !main.sourceListens {
          events.arrived()
          main.whereabouts = .arrived
        }
        let manifest = main.manifest(uuid: session.uuid)
        // Whole and durable, and not to be continued before the source knows: if this process ends
        // in between, the source goes on with its guest.
        try hold(main, manifest, store, as: main.sourceListens ? .unsettled : .held)
        if main.sourceListens { try tell(main, socket) }
        events.settled()
        var summary = ReceiveSummary(
          session: session, main: main, manifest: manifest, backends: entrance.backends,
          start: start)
        if main.sourceListens {
          // Its source has let go of it: what goes wrong now changes nothing about that.
          do { try store.settle() } catch {
            summary.warning =
              "the guest is held, and its source knows, but its store cannot say so (\(error)): it "
              + "says 'unsettled'. Send it from here with --force"
          }
        }
        session.finish()
        // The source reads the verdict and closes; closing first could reset the connection under
        // it.
        if main.sourceListens { socket.drain(seconds: min(5, options.timeout)) }
        return summary
      }
    }
  }

  /// Tells the source that its guest is held here, and waits until that has arrived: what lies in
  /// a buffer of this side is lost with the connection, and the source goes on then.
  private func tell(_ main: MainReceiver, _ socket: Socket) throws {
    main.whereabouts = .told
    do {
      try socket.write(ReturnPathMessage.shut(0).encode())
      try socket.awaitTaken(seconds: options.timeout) { session.failure != nil }
    } catch { throw Failure(error, at: "main channel") }
  }

  /// Over a link the guest begins as its older version, and the source is told which that is.
  private func begin(_ main: MainReceiver, _ entrance: Entrance) throws {
    guard let reference = entrance.reference else { return }
    guard let key = entrance.referenceKey else {
      return log("--reference is not used: what comes is no 'multifd send' over a link")
    }
    main.heritage = try Heritage(
      of: reference, in: main.store, key, to: main.socket, pageSize: options.limits.pageSize)
  }

  /// The store that the guest is to come into.
  func prepareStore() throws(StoreError) -> Store {
    try Store.prepare(options.store, connections: options.channels ?? 0)
  }

  /// Listens, lets `body` serve the source that connects, and cleans up.
  ///
  /// - Parameter opened: the store; nil: it is prepared here.
  func serve<Result>(
    _ onListening: (Endpoint) -> Void, _ delegate: any ReceptionDelegate,
    in opened: Store? = nil, onControl: ControlTaker? = nil,
    _ body: (MainReceiver, Socket, Store, Entrance) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try Failure.check(options.timeout, "receive")
    let entrance = try Entrance(session, options, loader, strangers, onControl: onControl)
    figures.withLock {
      $0.backends = { entrance.backends.map(\.name) }
      $0.dialect = { entrance.dialect }
    }
    defer {
      let (last, dialect) = (entrance.backends.map(\.name), entrance.dialect)
      figures.withLock {
        $0.backends = { last }
        $0.dialect = { dialect }
      }
    }
    let store: Store
    let listener: Listener
    do {
      store = try opened ?? prepareStore()
      listener = try Listener(
        on: options.listen, timeout: options.timeout, tls: options.tls,
        insecure: options.insecure)
    } catch { throw Failure(error, at: "receive") }
    onListening(listener.endpoint)

    let introduction = Introduction(limits: options.limits, takesControl: onControl != nil)
    let lobby = Lobby(listener, examine: introduction.examine)
    session.listen(isKnocked: { lobby.isKnocked }, passes: { lobby.passes })
    let threads = ThreadGroup()
    do {
      try threads.start("lobby") { [self] in
        let channels = ThreadGroup()
        let host = LinkHost(pageSize: options.limits.pageSize)
        lobby.run(onConnect: session.connected, onLeave: session.identified) { arrival in
          entrance.admit(arrival, host, channels)
        }
        // Ended from within: what was passed to us in place of a listening socket has no more.
        if !session.hasMain {
          session.fail(
            Failure(
              .unreachable, "receive", "no source came by \(listener.endpoint), and none can now"))
        }
        if !channels.joinAll(within: Self.patience) { left.store(true, ordering: .relaxed) }
      }
    } catch { throw Failure(error, at: "receive") }
    defer {
      lobby.close()
      session.finish()
      threads.joinAll()
    }
    let socket: Socket
    do throws(Failure) {
      socket = try session.waitForMain()
    } catch {
      store.sweep()
      throw error
    }
    if let encryption = socket.encryption { log("the source comes by \(encryption)") }
    return try body(
      MainReceiver(socket, session, options, store, delegate), socket, store, entrance)
  }

  /// Does what leads to a held guest. If it fails, the source is told and the store swept, unless
  /// the guest may be nowhere else by then.
  func untilHeld<Result>(
    _ main: MainReceiver, _ socket: Socket, _ store: Store,
    _ onProgress: @escaping @Sendable (ReceiveProgress) -> Void, _ body: () throws -> Result
  ) throws(Failure) -> Result {
    let start = ContinuousClock.now
    let (session, pageSize) = (session, options.limits.pageSize)
    let reporter = ThreadGroup()
    let held = Atomic(false)
    // Without a thread for it there is no progress to see, and nothing else is missing.
    try? reporter.start("progress") {
      while !session.waitUntilOver(seconds: 0.2), !held.load(ordering: .relaxed) {
        onProgress(session.progress(since: start, pageSize: pageSize))
      }
    }
    let writer = ThreadGroup()
    if main.delegate.isDurable {
      // What is on its way to a disk already is not waited for at the end, when the guest stands
      // still. Nor is anything missing without it.
      try? writer.start("write-back") {
        while !session.waitUntilOver(seconds: 1), !held.load(ordering: .relaxed) {
          store.startWriting(session.blocks)
        }
      }
    }
    defer {
      held.store(true, ordering: .relaxed)
      reporter.joinAll()
      // It may stand where storage does not answer.
      if !writer.joinAll(within: Self.patience) { left.store(true, ordering: .relaxed) }
      // Its threads keep the guest's memory.
      if main.preallocator?.end(within: Self.patience) == false {
        left.store(true, ordering: .relaxed)
      }
      main.preallocator = nil
    }
    do {
      return try body()
    } catch {
      var failure = session.failure ?? Failure(error, at: "receive")
      session.fail(failure)
      switch main.whereabouts {
      case .source:
        store.sweep()
        if main.sourceListens, (try? socket.write(ReturnPathMessage.shut(1).encode())) != nil {
          socket.finishWriting()
        }
      case .arrived: failure.noteArrived(in: store.path)
      case .told: failure.noteUntold()
      }
      socket.cut()
      throw failure
    }
  }

  /// Makes the store say that the guest is here.
  func hold(
    _ main: MainReceiver, _ manifest: Manifest, _ store: Store, as state: Manifest.State
  ) throws {
    figures.withLock { $0.machine = manifest.machine }
    try store.hold(
      manifest, as: state, blocks: main.stage?.guest ?? [], earlyState: main.earlyState,
      deviceState: main.deviceState, vmDescription: main.vmDescription,
      durable: main.delegate.isDurable)
  }
}
