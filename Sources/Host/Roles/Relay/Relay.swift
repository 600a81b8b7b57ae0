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
  struct Main: Sendable {
    var plan: RelayPlan
    var main: RelayMain
    var start: ContinuousClock.Instant
  }

  enum Source { case qemu, link }

  struct State: Sendable {
    var main: Main?
    var channels: [Int: RelayTraffic] = [:]
    /// How many channels have begun on the far side.
    var begun = 0
    /// Whose main connection has come.
    var source: Source?
    /// Threads that pass something on.
    var running = 0
  }

  let options: RelayOptions
  private let loader: PluginLoader
  let strangers: StrangerLog
  let session: Session
  let state: Monitor<State>
  let throttle: Throttle
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
    let throttle = Throttle(bytesPerSecond: options.maxBandwidth ?? 0)
    self.throttle = throttle
    session = Session(timeout: options.timeout, channels: options.channels) { failure in
      onFailure(failure)
      // Nor does anybody wait for the time of what is not sent on any more.
      throttle.open()
      // Whoever waits here is woken.
      state.update { _ in }
    }
  }

  /// Ends it from outside: a signal.
  public func cancel(_ failure: Failure) { session.fail(failure) }

  /// Sends on no more than so many bytes a second from now on; 0: as many as go.
  public func limit(bytesPerSecond: UInt64) { throttle.limit(bytesPerSecond: bytesPerSecond) }

  /// Sends nothing on from now on, until it is told otherwise. What comes waits at its sender.
  public func hold(_ holds: Bool) { throttle.hold(holds) }

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
    do {
      listener = try Listener(
        on: options.listen, timeout: options.timeout, tls: options.listenTLS,
        insecure: options.insecure)
    } catch {
      throw Failure(error, at: "relay")
    }
    onListening(listener.endpoint)
    let lobby = Lobby(
      listener, examine: Introduction(limits: StreamDecoder.Limits()).examine)
    session.listen(isKnocked: { lobby.isKnocked }, passes: { lobby.passes })
    let (door, threads) = (ThreadGroup(), ThreadGroup())
    do {
      try door.start("lobby") { [self] in
        let host = LinkHost(pageSize: options.pageSize)
        lobby.run(onConnect: session.connected, onLeave: session.identified) { arrival in
          admit(arrival, host, far, threads)
        }
        // As in a reception: there was one connection, or none can come any more.
        if state.read({ $0.source == nil }) {
          session.fail(
            Failure(
              .unreachable, "relay", "no source came by \(listener.endpoint), and none can now"))
        }
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

  func waitForMain() throws(Failure) -> Main {
    let main = state.wait(seconds: nil) { [session] state -> Result<Main, Failure>? in
      if let failure = session.failure { return .failure(failure) }
      return state.main.map { .success($0) }
    }
    return try main!.get()
  }

  /// The main channel is at its first sync point: whoever counts the channels behind it is to find
  /// all of them.
  ///
  /// - Parameter near: the main channel, which nobody reads meanwhile.
  func waitForChannels(_ near: Socket) throws(Failure) {
    let count = try session.countChannels()
    // As in a reception.
    var deadline = ContinuousClock.now + .seconds(options.timeout * 1.25)
    var hasLeft = false
    while true {
      let all = state.wait(seconds: 0.2) { [session] state -> Result<Void, Failure>? in
        if let failure = session.failure { return .failure(failure) }
        return state.begun >= count ? .success(()) : nil
      }
      if let all {
        try all.get()
        break
      }
      // One that has come, and does not get through, ends everything in its own time.
      guard let absence = session.absence else { continue }
      // No more come of a source that has gone, but for what it has connected before.
      if !hasLeft, near.end == .ended {
        hasLeft = true
        deadline = min(deadline, .now + .seconds(1))
      }
      guard .now > deadline else { continue }
      throw hasLeft ? Self.ended(by: "source") : absence
    }
    // Of one more than were told it is to be said, whenever it comes.
    if options.channels == nil { session.closeToChannels() }
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
      // A destination that has the guest owes nothing more, and no channel matters any more.
      let isSettled = flow.verdict == 0 && flow.forthHasEnded
      if isSettled, flow.backHasEnded { return session.finish() }
      guard flow.backHasEnded || isSettled else { continue }
      // One that has ended with the guest leaves the source to close the rest. One that has ended
      // without it is not to keep a source waiting that has nothing to write.
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
    return Self.ended(by: flow.sourceWasFirst ? "source" : "destination")
  }

  private static func ended(by who: String) -> Failure {
    Failure(
      .failed, who, "the \(who) ended the migration before the guest had moved",
      hint: "its own log says why; the guest goes on at its source")
  }

  // MARK: Telling

  /// What it is doing now.
  public var status: RoleStatus {
    let (main, channels) = state.read { ($0.main, $0.channels) }
    var status = RoleStatus(.relay, phase: phase(main))
    if let main {
      // Verbatim: what comes in goes out.
      status.channels = [
        RoleStatus.Channel(
          "main", received: main.main.sent, sent: main.main.sent, format: main.plan.far.format)
      ]
      status.backends = main.plan.outgoing.map(\.backend.name)
    }
    status.channels += channels.sorted { $0.key < $1.key }.map { id, traffic in
      RoleStatus.Channel(
        "\(id)", received: traffic.received, sent: traffic.sent,
        format: (main?.plan.far ?? .qemu).format)
    }
    status.strangers = strangers.count
    return status
  }

  private func phase(_ main: Main?) -> String {
    if session.failure != nil { return "failing" }
    guard let main else { return "listening" }
    if session.isOver { return "ended" }
    if throttle.isHeld { return "paused" }
    return main.main.flow.read(\.isProtection) ? "protecting" : "relaying"
  }

  private func progress(_ main: Main) -> RelayProgress {
    RelayProgress(
      main.main.sent, state.read { Array($0.channels.values) }, since: main.start)
  }

  private func summary(_ main: Main) throws(Failure) -> RelaySummary {
    let flow = main.main.flow.read { $0 }
    // Without a return path nobody says how it went: what its source had to say must be whole. A
    // primary may leave whenever it likes.
    let hasMoved = flow.verdict == 0 || flow.isWhole && !flow.isHeard
    guard flow.isProtection ? flow.sourceWasFirst : hasMoved else { throw ended(flow) }
    let formats = main.plan.outgoing.map(\.backend.name)
    return RelaySummary(
      options, flow, main.main.sent, state.read { $0.channels }, since: main.start,
      compression: formats.isEmpty ? "as it comes" : formats.joined(separator: ", "))
  }
}
