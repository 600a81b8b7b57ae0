import Migration
import PluginLoader
import Synchronization
import System
import Transport
import Wire

/// A relay between two stock QEMUs, as short as the waist of the house lets it be: what the main
/// channel says goes on as it came, in both directions, and each multifd channel is a reader joined
/// to a writer.
final class TwoLineRelay: Sendable {
  /// Where a source may connect.
  let endpoint: Endpoint
  private let destination: Endpoint
  private let lobby: Lobby
  private let backend: Backend
  private let session: Session
  private let threads = ThreadGroup()
  private let channels = ThreadGroup()
  /// Packets that went through.
  let packets = Atomic<Int>(0)

  /// Listens, and connects to `destination` for every connection that a source opens.
  init(to destination: Endpoint, _ loader: PluginLoader) throws {
    self.destination = destination
    backend = try loader.load(named: "nocomp")
    session = Session(timeout: 30)
    let listener = try Listener(on: .tcp(host: "127.0.0.1", port: 0), timeout: 30)
    endpoint = listener.endpoint
    lobby = Lobby(listener, examine: Introduction(limits: StreamDecoder.Limits()).examine)
    let choice = try BackendChoice(loader, CompressionSpec(parsing: "nocomp"))
    try threads.start("lobby") { [self] in
      lobby.run(onConnect: session.connected, onLeave: session.identified) { arrival in
        do {
          switch arrival {
          case .main(let source):
            let out = try connect(source)
            try channels.start("forth") { self.passOn(source, out) }
            try channels.start("back") { self.passOn(out, source) }
          case .channel(let source):
            let out = try connect(source)
            try channels.start("channel") { self.passPackets(source, out, choice) }
          case .stranger, .trouble: break
          }
        } catch { session.fail(Failure(error, at: "relay")) }
      }
    }
  }

  /// What went wrong, if anything did.
  var failure: Failure? { session.failure }

  /// Waits until all connections are through.
  func end() {
    channels.joinAll()
    lobby.close()
    threads.joinAll()
  }

  /// Both are cut if anything fails.
  private func connect(_ source: Socket) throws -> Socket {
    let out = try Socket.connect(to: destination, timeout: 30)
    try session.adopt(source)
    try session.adopt(out)
    return out
  }

  private func passPackets(_ source: Socket, _ out: Socket, _ choice: BackendChoice) {
    let reader = PacketReader(
      .socket(source, name: "the source"), pageSize: 4096, choice: choice, channels: { 2 })
    defer { reader.close() }
    do {
      let hello = try reader.begin()
      let writer = PacketWriter(
        out,
        try PacketEncoder(
          backend: backend, options: try backend.parse([]), id: Int(hello.id), channels: 2,
          pageSize: 4096, verify: false), pageSize: 4096)
      try writer.begin(hello)
      var packet = Packet(pageSize: 4096)
      let scratch = ScratchPages(pageSize: 4096)
      while try reader.next(&packet, into: scratch) {
        try writer.write(packet)
        packets.add(1, ordering: .relaxed)
      }
      out.finishWriting()
    } catch { session.fail(Failure(error, at: reader.place)) }
  }

  private func passOn(_ from: Socket, _ to: Socket) {
    withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { bytes in
      do {
        while case let count = try from.read(into: bytes, idle: true), count > 0 {
          try to.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        }
      } catch { session.fail(Failure(error, at: "main channel")) }
      to.finishWriting()
    }
  }
}
