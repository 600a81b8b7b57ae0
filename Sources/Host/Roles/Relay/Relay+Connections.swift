import Migration
import Observe
import PluginLoader
import System
import Transport
import Wire

/// Who comes in, and where it goes on.
extension Relay {
  func admit(
    _ arrival: Lobby.Arrival, _ host: LinkHost, _ far: RelayFar, _ threads: ThreadGroup
  ) {
    switch arrival {
    case .main(let near):
      guard take(.qemu) else {
        strangers.note(.second, from: near.origin)
        return near.cut()
      }
      start("main", threads, at: "main channel") { [self] in
        try adopt(main: near)
        let (socket, plan) = try far.main()
        try passMain(near, socket, plan, threads)
      }
    case .channel(let near):
      guard state.read({ $0.source == .qemu }), session.admitUnnamed(near) else {
        strangers.note(.second, from: near.origin)
        return near.cut()
      }
      start("channel", threads, at: "multifd channel") { [self] in
        try passChannel(near) { id throws(Failure) in try far.channel(id) }
      }
    case .letter(let near, let letter): admit(near, letter, host, far, threads)
    case .stranger(let stranger, let origin): strangers.note(stranger, from: origin)
    case .trouble(let error): strangers.note(error)
    }
  }

  private func admit(
    _ near: Socket, _ letter: [UInt8], _ host: LinkHost, _ far: RelayFar, _ threads: ThreadGroup
  ) {
    let hello: LinkHello
    do throws(LinkRefusal) {
      hello = try host.read(letter)
      switch hello.role {
      case .main: if !take(.link) { throw .taken }
      case .channel(let id):
        if !session.admitUnnamed(near) { throw LinkRefusal("channel \(id) comes too late") }
      }
    } catch {
      strangers.note(error)
      return near.refuse(error)
    }
    host.admit(hello)
    switch hello.role {
    case .main:
      start("main", threads, at: "main channel") { [self] in
        guard let (socket, plan, formats) = connect(near, hello, host, far) else { return }
        try adopt(main: near)
        try near.write(LinkAnswer.accepted(formats, reference: plan.hasReference).encode())
        try passMain(near, socket, plan, threads)
      }
    case .channel(let id):
      start("channel", threads, at: "channel \(id)") { [self] in
        let socket: Socket
        do throws(Failure) { socket = try far.channel(Int(id)) } catch {
          near.refuse(LinkRefusal("\(error)"))
          throw error
        }
        try near.write(LinkAnswer.accepted(.rawOnly).encode())
        try passChannel(near, announced: Int(id)) { _ in socket }
      }
    }
  }

  /// Connects for a link's main connection. If that cannot be, the other side is told why, and
  /// nothing has happened here: anybody can say hello, and it may be said again when the far side is
  /// ready.
  private func connect(
    _ near: Socket, _ hello: LinkHello, _ host: LinkHost, _ far: RelayFar
  ) -> (Socket, RelayPlan, LinkFormats)? {
    do { return try far.main(hello, host) } catch {
      // Before it is told: it may say it again at once.
      host.forget()
      state.update { $0.source = nil }
      let refusal =
        error as? LinkRefusal ?? LinkRefusal("\(Failure(error, at: "destination"))")
      strangers.note(refusal)
      near.refuse(refusal)
      return nil
    }
  }

  /// The first one to come is the one.
  private func take(_ source: Source) -> Bool {
    state.update { state in
      guard state.source == nil else { return false }
      state.source = source
      return true
    }
  }

  /// It is the source's main channel; cut like all others, for nothing is told on it.
  private func adopt(main near: Socket) throws(Failure) {
    _ = session.admitMain(near)
    try session.adopt(near)
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
    let main = RelayMain(near, far, plan.hasReference ? options.pageSize : nil)
    state.update { $0.main = Main(plan: plan, main: main, start: .now) }
    start("back", threads, at: "main channel") { try main.runBack() }
    try main.runForth(throttle) { [self] () throws(Failure) in try waitForChannels(near) }
  }

  private func passChannel(
    _ near: Socket, announced: Int? = nil, _ connect: (Int) throws(Failure) -> Socket
  ) throws {
    // The main connection is made first: QEMU 7.2 takes the first one that comes for it.
    let main = try waitForMain()
    let reader = PacketReader(
      .socket(near, name: "the source"), pageSize: options.pageSize, dialect: main.plan.incoming,
      backends: main.plan.decoding, takesDeviceState: true,
      channels: { [session] in session.channelCount })
    // The backends' channels and the reader know each other.
    defer { reader.close() }
    do {
      let hello = try reader.begin()
      let traffic = RelayTraffic(
        received: try session.register(hello, near, announced: announced).counters)
      traffic.received.moved(bytes: MultiFDInit.size)
      state.update { $0.channels[Int(hello.id)] = traffic }
      let socket = try connect(Int(hello.id))
      try session.adopt(socket)
      let channel = try RelayChannel(
        hello, reader, to: socket, main.plan, traffic, throttle, pageSize: options.pageSize,
        channels: { [session] in session.channelCount })
      state.update { $0.begun += 1 }
      // As the main channel's end: it is passed on as it comes.
      near.acceptAbruptEnd()
      try channel.run()
      socket.finishWriting(as: near)
    } catch { throw Failure(error, at: reader.place) }
  }
}
