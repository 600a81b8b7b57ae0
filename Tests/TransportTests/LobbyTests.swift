import Foundation
import TestSupport
import Testing
import Transport

@Suite("Lobby")
struct LobbyTests {
  static let main: [UInt8] = [0x51, 0x45, 0x56, 0x4d]
  static let channel: [UInt8] = [0x11, 0x22, 0x33, 0x44]

  @Test(
    "Connections are told apart by their first bytes, which stay",
    arguments: Connection.Kind.allCases)
  func identify(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let (one, two) = (try hall.connect(), try hall.connect())
    Sockets.write(two, Self.channel + [1, 2, 3])
    #expect(hall.next() == .channel)
    Sockets.write(one, Self.main + [9])
    #expect(hall.next() == .main)
    #expect(try hall.sockets[0].bytes(7) == Self.channel + [1, 2, 3])
    #expect(try hall.sockets[1].bytes(5) == Self.main + [9])
    // What is read one by one comes one by one: no low-water mark is left behind.
    Sockets.write(one, [8])
    #expect(try hall.sockets[1].bytes(1) == [8])
    #expect(hall.connections == 2)
  }

  @Test(
    "A magic may come byte by byte, mixed with those of others", arguments: Connection.Kind.allCases
  )
  func split(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let (one, two) = (try hall.connect(), try hall.connect())
    for index in 0..<3 {
      Sockets.write(one, [Self.main[index]])
      Sockets.write(two, [Self.channel[index]])
      Thread.sleep(forTimeInterval: 0.02)
      #expect(hall.arrivals.isEmpty)
    }
    Sockets.write(two, [Self.channel[3]])
    #expect(hall.next() == .channel)
    Sockets.write(one, [Self.main[3]])
    #expect(hall.next() == .main)
    #expect(try hall.sockets[0].bytes(4) == Self.channel)
  }

  @Test("Strangers are named by what they said", arguments: Connection.Kind.allCases)
  func strangers(over: Connection.Kind) throws {
    let hall = try Hall(over)
    for bytes in [Array("GET / HTTP/1.1\r\n".utf8), [0x16, 3, 1, 2, 0], [0x51, 0x45, 0x56, 0x4e]] {
      Sockets.write(try hall.connect(), bytes)
      #expect(hall.next() == .stranger(Array(bytes.prefix(4))))
    }
    // Two bytes and an end: nothing more will come.
    let short = try hall.connect()
    Sockets.write(short, [0x47, 0x45])
    shutdown(short, Int32(SHUT_WR))
    #expect(hall.next() == .stranger([0x47, 0x45]))
  }

  @Test(
    "Port scans, resets and connections without a word keep nobody waiting",
    arguments: Connection.Kind.allCases)
  func silent(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let silent = try (0..<5).map { _ in try hall.connect() }
    for index in 0..<20 {
      let scan = try hall.connect()
      if index % 2 == 0 {
        // Closing resets the connection.
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
          scan, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
      }
      if index % 3 == 0 { Sockets.write(scan, Self.main.prefix(3)) }
      hall.close(scan)
    }
    Sockets.write(try hall.connect(), Self.main)
    #expect(hall.next() == .main)
    Sockets.write(silent[3], Self.channel)
    #expect(hall.next() == .channel)
    #expect(hall.arrivals.count == 2)
  }

  @Test("Many at once", arguments: Connection.Kind.allCases)
  func many(over: Connection.Kind) throws {
    let hall = try Hall(over)
    var generator = SeededGenerator(seed: 2)
    var open = try (0..<40).map { _ in try hall.connect() }
    open.shuffle(using: &generator)
    for (index, descriptor) in open.enumerated() {
      Sockets.write(descriptor, (index == 7 ? Self.main : Self.channel) + [UInt8(index)])
    }
    let said = (0..<40).map { _ in hall.next() }
    #expect(said.count { $0 == .main } == 1 && said.count { $0 == .channel } == 39)
    #expect(Set(try hall.sockets.map { try $0.bytes(5)![4] }) == Set(0..<40))
    #expect(hall.connections == 40)
  }

  @Test(
    "Closing ends it, and closes who has not said anything", arguments: Connection.Kind.allCases)
  func close(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let silent = try hall.connect(), main = try hall.connect()
    Sockets.write(main, Self.main)
    #expect(hall.next() == .main)
    hall.end()
    var byte: [UInt8] = [0]
    #expect(Sockets.read(silent, &byte) == 0)
    try hall.sockets[0].write([1])
    #expect(Sockets.read(main, &byte) == 1, "who has arrived is not the lobby's any more")
  }

  /// A lobby at work, and its visitors.
  private final class Hall {
    enum Said: Equatable {
      case main, channel, stranger([UInt8])
    }

    private let listener: Listener
    private let lobby: Lobby
    private let threads = ThreadGroup()
    private let state = Transport.Monitor<(arrivals: [Lobby.Arrival], connections: Int)>(([], 0))
    private var visitors: Set<Int32> = []
    private var taken = 0
    private let folder: TemporaryFolder

    init(_ over: Connection.Kind) throws {
      folder = try TemporaryFolder()
      let endpoint =
        over == .tcp ? Endpoint.tcp(host: "127.0.0.1", port: 0) : .unix(path: folder("lobby"))
      listener = try Listener(on: endpoint, timeout: 10)
      lobby = Lobby(listener)
      try threads.start("lobby") { [lobby, state] in
        lobby.run {
          state.update { $0.connections += 1 }
        } onArrival: { arrival in
          state.update { $0.arrivals.append(arrival) }
        }
      }
    }

    deinit {
      end()
      for visitor in visitors { Glibc.close(visitor) }
    }

    func end() {
      lobby.close()
      threads.joinAll()
    }

    func connect() throws -> Int32 {
      let descriptor =
        switch listener.endpoint {
        case .tcp(_, let port): Sockets.connect(port: Int(port))
        case .unix(let path): Sockets.connect(unix: path)
        }
      visitors.insert(try #require(descriptor))
      return descriptor!
    }

    func close(_ visitor: Int32) {
      visitors.remove(visitor)
      Glibc.close(visitor)
    }

    var arrivals: [Lobby.Arrival] { state.update { $0.arrivals } }
    var connections: Int { state.update { $0.connections } }

    /// The next arrival; nil when none comes.
    func next() -> Said? {
      taken += 1
      let count = taken
      return state.wait(seconds: 20) { $0.arrivals.count >= count ? $0.arrivals[count - 1] : nil }
        .map { arrival in
          switch arrival {
          case .main: .main
          case .channel: .channel
          case .stranger(_, let bytes): .stranger(bytes)
          }
        }
    }

    /// Those that have arrived, in order.
    var sockets: [Socket] {
      arrivals.map { arrival in
        switch arrival {
        case .main(let socket), .channel(let socket), .stranger(let socket, _): socket
        }
      }
    }
  }
}
