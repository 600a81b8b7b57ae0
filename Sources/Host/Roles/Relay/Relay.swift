// Relay: a guest passes through, and its pages may change their format on the way.

import Migration
import Observe
import PluginLoader
import Synchronization
import System
import Transport
import Wire

/// `multifd relay`: passes a migration on, between QEMUs and links.
///
///     near (source)                         far (destination)
///     main channel   ── verbatim, both ways ──►  connected first
///     channel 0 … n  ── packet by packet ─────►  connected as they come
///
/// No memory of the guest is held, and no more than a packet a channel is under way here. Whatever
/// fails, on whichever connection, cuts all of them, on both sides: the source goes on as after a
/// failed direct migration.
public final class Relay: Sendable {
  /// What the main connections have come to.
  private struct Main: Sendable {
    var plan: RelayPlan
    var main: RelayMain
    var start: ContinuousClock.Instant
  }

  private enum Source { case qemu, link }

  private struct State: Sendable {
    var main: Main?
    var channels: [Int: RelayTraffic] = [:]
    /// Whose main connection has come.
    var source: Source?
    /// Threads that pass something on.
    var running = 0
  }

  private let options: RelayOptions
  private let loader: PluginLoader
  private let strangers: StrangerLog
  private let session: Session
  private let state: Monitor<State>
  private let throttle: Throttle?
  private let left = Atomic(false)

  /// A relay that nobody has connected to.
  ///
  /// - Parameters:
  ///   - onFailure: told of the first failure, from whatever thread notices it.
  ///   - log: gets a line for connections that are none of the source's.
  public init(
    _ options: RelayOptions, loader: PluginLoader,
    onFailure: @escaping @Sendable (Failure) -> Void = { _ in },
    log: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.options = options
    self.loader = loader
    strangers = StrangerLog(log)
    let state = Monitor(State())
    self.state = state
    throttle = options.maxBandwidth.map { Throttle(bytesPerSecond: $0) }
    session = Session(timeout: options.timeout) { failure in
      onFailure(failure)
      // Whoever waits here is woken.
      state.update { _ in }
    }
  }

  /// Ends it from outside: a signal.
  public func cancel(_ failure: Failure) { session.fail(failure) }

  /// Threads were left behind when it ended: see ``Receiver/hasLeftThreads``.
  public var hasLeftThreads: Bool { left.load(ordering: .relaxed) }

  /// Listens, passes one guest on.
  ///
  /// - Parameters:
  ///   - onListening: called once the source may connect.
  ///   - onProgress: called a few times a second while the guest passes.
  public func run(
    onListening: (Endpoint) -> Void, onProgress: @escaping @Sendable (RelayProgress) -> Void
  ) throws(Failure) -> RelaySummary {
    try Failure.check(options.timeout, "relay")
    let far = try RelayFar(options, loader)
    let listener: Listener
    do { listener = try Listener(on: options.listen, timeout: options.timeout) } catch {
      throw Failure(error, at: "relay")
    }
    onListening(listener.endpoint)
    let lobby = Lobby(
      listener, examine: Introduction(limits: StreamDecoder.Limits()).examine)
    let (door, threads) = (ThreadGroup(), ThreadGroup())
    do {
      try door.start("lobby") { [self] in
        let host = LinkHost(pageSize: options.pageSize)
        lobby.run(onConnect: {}) { admit($0, host, far, threads) }
      }
    } catch { throw Failure(error, at: "relay") }
    defer {
      lobby.close()
      door.joinAll()
      // Once the sockets are cut, only a thread that is inside a backend takes long.
      if !threads.joinAll(within: 1) { left.store(true, ordering: .relaxed) }
    }
    let main = try waitForMain()
    do throws(Failure) {
      try watch(main, onProgress)
      return try summary(main)
    } catch {
      session.fail(error)
      throw session.failure ?? error
    }
  }

  // MARK: Waiting

  private func waitForMain() throws(Failure) -> Main {
    let main = state.wait(seconds: nil) { [session] state -> Result<Main, Failure>? in
      if let failure = session.failure { return .failure(failure) }
      return state.main.map { .success($0) }
    }
    return try main!.get()
  }

  /// Waits for the end of all connections.
  private func watch(
    _ main: Main, _ onProgress: @escaping @Sendable (RelayProgress) -> Void
  ) throws(Failure) {
    var deadline: ContinuousClock.Instant?
    while true {
      let isOver =
        state.wait(seconds: 0.2) { [session] state in
          session.failure != nil || state.running == 0 ? true : nil
        } ?? false
      if let failure = session.failure { throw failure }
      if isOver { return }
      onProgress(progress(main))
      try expectChannels(main)
      let flow = main.main.flow.read { $0 }
      guard flow.backHasEnded else { continue }
      // A destination that has ended with the guest leaves the source to close the rest. One that
      // has ended without it is not to keep a source waiting that has nothing to write.
      let isLost = (flow.verdict != 0 || flow.isProtection) && !flow.forthHasEnded
      deadline = deadline ?? .now + .seconds(isLost ? 1 : options.timeout)
      guard .now > deadline! else { continue }
      if isLost { throw ended(flow) }
      return session.finish()
    }
  }

  /// With fewer channels than a destination expects nothing begins, and nobody says so.
  private func expectChannels(_ main: Main) throws(Failure) {
    guard let expected = options.channels, .now - main.start > .seconds(options.timeout) else {
      return
    }
    let count = state.read { $0.channels.count }
    guard count < expected else { return }
    throw Failure(
      .unreachable, "source",
      "\(count) of \(expected) channels have come within \(options.timeout.formatted) s",
      hint: "make --channels equal to the source's multifd-channels, or leave it out")
  }

  private func ended(_ flow: RelayMain.Flow) -> Failure {
    if let value = flow.verdict, value != 0 {
      return Failure(
        .failed, "destination", "it could not load the guest (SHUT \(value))",
        hint: "its own log says why; the guest goes on at its source")
    }
    if flow.isProtection {
      return Failure(
        .failed, "destination", "it has ended, and takes no more checkpoints",
        hint: "QMP x-colo-lost-heartbeat lets the guest go on at its source")
    }
    let who = flow.sourceWasFirst ? "the source" : "the destination"
    return Failure(
      .failed, flow.sourceWasFirst ? "source" : "destination",
      "\(who) ended the migration before the guest had moved",
      hint: "its own log says why; the guest goes on at its source")
  }

  // MARK: Connections

  private func admit(
    _ arrival: Lobby.Arrival, _ host: LinkHost, _ far: RelayFar, _ threads: ThreadGroup
  ) {
    switch arrival {
    case .main(let near):
      guard take(.qemu) else {
        strangers.note(.second)
        return near.cut()
      }
      start("main", threads, at: "main channel") { [self] in
        try session.adopt(near)
        let (socket, plan) = try far.main()
        try passMain(near, socket, plan, threads)
      }
    case .channel(let near):
      guard state.read({ $0.source == .qemu }) else {
        strangers.note(.second)
        return near.cut()
      }
      start("channel", threads, at: "multifd channel") { [self] in
        try session.adopt(near)
        try passChannel(near, far) { id throws(Failure) in try far.channel(id) }
      }
    case .letter(let near, let letter): admit(near, letter, host, far, threads)
    case .stranger(let stranger): strangers.note(stranger)
    case .trouble(let error): strangers.note(error)
    }
  }

  private func admit(
    _ near: Socket, _ letter: [UInt8], _ host: LinkHost, _ far: RelayFar, _ threads: ThreadGroup
  ) {
    let hello: LinkHello
    do throws(LinkRefusal) {
      hello = try host.read(letter)
      if hello.role == .main, !take(.link) { throw .taken }
    } catch {
      strangers.note(error)
      try? near.write(LinkAnswer.refused(error).encode())
      return near.finishWriting()
    }
    host.admit(hello)
    switch hello.role {
    case .main:
      start("main", threads, at: "main channel") { [self] in
        try session.adopt(near)
        let (socket, plan, formats) = try connect(near, hello, far)
        try near.write(LinkAnswer.accepted(formats).encode())
        try passMain(near, socket, plan, threads)
      }
    case .channel(let id):
      start("channel", threads, at: "channel \(id)") { [self] in
        try session.adopt(near)
        let socket: Socket
        do throws(Failure) { socket = try far.channel(Int(id)) } catch { throw tell(near, error) }
        try near.write(LinkAnswer.accepted(.rawOnly).encode())
        try passChannel(near, far) { found throws(Failure) in
          guard found == Int(id) else {
            throw Failure(
              .corrupt, "channel \(id)", "its init packet says that it is channel \(found)")
          }
          return socket
        }
      }
    }
  }

  /// Connects for a link's main connection; if that cannot be, the other side is told why.
  private func connect(
    _ near: Socket, _ hello: LinkHello, _ far: RelayFar
  ) throws -> (Socket, RelayPlan, LinkFormats) {
    do { return try far.main(hello) } catch let refusal as LinkRefusal {
      try? near.write(LinkAnswer.refused(refusal).encode())
      near.finishWriting()
      throw Failure(.refused, "link", "the source was refused: \(refusal)")
    } catch { throw tell(near, Failure(error, at: "destination")) }
  }

  private func tell(_ near: Socket, _ failure: Failure) -> Failure {
    try? near.write(LinkAnswer.refused(LinkRefusal("\(failure)")).encode())
    near.finishWriting()
    return failure
  }

  /// The first one to come is the one.
  private func take(_ source: Source) -> Bool {
    state.update { state in
      guard state.source == nil else { return false }
      state.source = source
      return true
    }
  }

  /// Starts a thread whose error ends everything.
  private func start(
    _ name: String, _ threads: ThreadGroup, at place: String,
    _ body: @escaping @Sendable () throws -> Void
  ) {
    state.update { $0.running += 1 }
    do {
      try threads.start(name) { [self] in
        // Once all is over, sockets are cut under us: no news.
        do { try body() } catch { if !session.isOver { session.fail(Failure(error, at: place)) } }
        state.update { $0.running -= 1 }
      }
    } catch { session.fail(Failure(error, at: place)) }
  }

  private func passMain(
    _ near: Socket, _ far: Socket, _ plan: RelayPlan, _ threads: ThreadGroup
  ) throws {
    try session.adopt(far)
    let main = RelayMain(near, far)
    state.update { $0.main = Main(plan: plan, main: main, start: .now) }
    start("back", threads, at: "main channel") { try main.runBack() }
    try main.runForth(throttle)
  }

  private func passChannel(
    _ near: Socket, _ far: RelayFar, _ connect: (Int) throws(Failure) -> Socket
  ) throws {
    // The main connection is made first: QEMU 7.2 takes the first one that comes for it.
    let main = try waitForMain()
    let reader = PacketReader(
      .socket(near, name: "the source"), pageSize: options.pageSize, dialect: main.plan.incoming,
      backends: main.plan.decoding, takesDeviceState: true, channels: { [self] in count })
    // The backends' channels and the reader know each other.
    defer { reader.close() }
    do {
      let hello = try reader.begin()
      let socket = try connect(Int(hello.id))
      try session.adopt(socket)
      let traffic = try register(Int(hello.id))
      traffic.received.moved(bytes: MultiFDInit.size)
      let channel = try RelayChannel(
        hello, reader, to: socket, main.plan, traffic, pageSize: options.pageSize,
        channels: { [self] in count })
      try channel.run(throttle)
      socket.finishWriting()
    } catch { throw Failure(error, at: reader.place) }
  }

  private var count: Int { options.channels ?? state.read { $0.channels.count } }

  private func register(_ id: Int) throws(Failure) -> RelayTraffic {
    if let expected = options.channels, id >= expected {
      throw Failure(
        .refused, "channel \(id)", "the source opened more channels than the \(expected) expected",
        hint: "make --channels equal to the source's multifd-channels")
    }
    let traffic = state.update { state -> RelayTraffic? in
      guard state.channels[id] == nil else { return nil }
      let traffic = RelayTraffic()
      state.channels[id] = traffic
      return traffic
    }
    guard let traffic else {
      throw Failure(.corrupt, "channel \(id)", "two connections claim this number")
    }
    return traffic
  }

  // MARK: Telling

  private func progress(_ main: Main) -> RelayProgress {
    RelayProgress(
      main.main.sent, state.read { Array($0.channels.values) }, since: main.start)
  }

  private func summary(_ main: Main) throws(Failure) -> RelaySummary {
    let flow = main.main.flow.read { $0 }
    // Without a return path nobody says how it went. A primary may leave whenever it likes.
    guard flow.isProtection ? flow.sourceWasFirst : flow.verdict == 0 || !flow.isHeard else {
      throw ended(flow)
    }
    let formats = main.plan.outgoing.map(\.backend.name)
    return RelaySummary(
      options, flow, main.main.sent, state.read { $0.channels }, since: main.start,
      compression: formats.isEmpty ? "as it comes" : formats.joined(separator: ", "))
  }
}
