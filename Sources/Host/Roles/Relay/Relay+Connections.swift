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
        guard let (socket, plan, formats) = connect(near, hello, host, far) else { return }
        try session.adopt(near)
        try near.write(LinkAnswer.accepted(formats, reference: plan.hasReference).encode())
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

  /// Connects for a link's main connection. If that cannot be, the other side is told why, and
  /// nothing has happened here: anybody can say hello, and it may be said again when the far side is
  /// ready.
  private func connect(
    _ near: Socket, _ hello: LinkHello, _ host: LinkHost, _ far: RelayFar
  ) -> (Socket, RelayPlan, LinkFormats)? {
    do { return try far.main(hello) } catch {
      // Before it is told: it may say it again at once.
      host.forget()
      state.update { $0.source = nil }
      let refusal = error as? LinkRefusal
      let failure = Failure(error, at: "destination")
      strangers.note(refusal ?? LinkRefusal("\(failure)"))
      if let refusal {
        try? near.write(LinkAnswer.refused(refusal).encode())
        near.finishWriting()
      } else {
        _ = tell(near, failure)
      }
      return nil
    }
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
    let main = RelayMain(near, far, plan.hasReference ? options.pageSize : nil)
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
        hello, reader, to: socket, main.plan, traffic, throttle, pageSize: options.pageSize,
        channels: { [self] in count })
      try channel.run()
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
}
