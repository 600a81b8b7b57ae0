import Foundation
import Glibc
import System
import TestSupport
import Testing
import Transport

@Suite("Lobby")
struct LobbyTests {
  static let main: [UInt8] = [0x51, 0x45, 0x56, 0x4d]
  static let channel: [UInt8] = [0x11, 0x22, 0x33, 0x44]
  static let letter = Array("MFDL".utf8)

  @Test(
    "Connections are told apart by their first bytes, which stay",
    arguments: Connection.Kind.allCases)
  func identify(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let (one, two) = (try hall.connect(), try hall.connect())
    Sockets.write(two, Self.channel + [1, 2, 3])
    Thread.sleep(forTimeInterval: 0.05)
    #expect(hall.arrivals.isEmpty, "a channel waits for its main channel")
    Sockets.write(one, Self.main + [9])
    #expect(hall.next() == .main)
    #expect(hall.next() == .channel)
    #expect(try hall.sockets[0].bytes(5) == Self.main + [9])
    #expect(try hall.sockets[1].bytes(7) == Self.channel + [1, 2, 3])
    // What is read one by one comes one by one: no low-water mark is left behind.
    Sockets.write(one, [8])
    #expect(try hall.sockets[0].bytes(1) == [8])
    #expect(hall.connections == 2)
    let late = try hall.connect()
    Sockets.write(late, Self.channel)
    #expect(hall.next() == .channel, "one that comes later waits for nothing")
  }

  @Test("Who knocks is known before he is let in")
  func knocking() throws {
    let listener = try Listener(on: .tcp(host: "127.0.0.1", port: 0), timeout: 5)
    let lobby = Lobby(listener) { _ in .main }
    #expect(!lobby.isKnocked)
    guard case .tcp(_, let port) = listener.endpoint else { return }
    let visitor = try #require(Sockets.connect(port: Int(port)))
    defer { Glibc.close(visitor) }
    #expect(lobby.isKnocked)
    lobby.close()
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
    Sockets.write(one, [Self.main[3]])
    #expect(hall.next() == .main)
    #expect(hall.next() == .channel)
    #expect(try hall.sockets[1].bytes(4) == Self.channel)
  }

  @Test(
    "A letter is taken to its last byte, and nothing behind it; it waits for nobody",
    arguments: Connection.Kind.allCases)
  func letter(over: Connection.Kind) throws {
    let hall = try Hall(over)
    let letter = Self.letter + [0xff, 0xf0] + (6..<0xfff0).map { UInt8(truncatingIfNeeded: $0) }
    let (one, two) = (try hall.connect(), try hall.connect())
    Sockets.write(two, Array(letter.prefix(20)))
    for start in stride(from: 0, to: letter.count, by: 9000) {
      Sockets.write(one, Array(letter[start..<min(start + 9000, letter.count)]))
      Thread.sleep(forTimeInterval: 0.005)
    }
    Sockets.write(one, [1, 2, 3])
    #expect(hall.next() == .letter(letter))
    #expect(try hall.sockets[0].bytes(3) == [1, 2, 3])
    hall.close(two)
    #expect(hall.next() == .stranger(.closed(after: 20)))
  }

  @Test("A letter that does not end is silent in the end", arguments: Connection.Kind.allCases)
  func endless(over: Connection.Kind) throws {
    let hall = try Hall(over, timeout: 0.2)
    Sockets.write(try hall.connect(), Self.letter + [0, 9, 1])
    #expect(hall.next() == .stranger(.silent(after: 7)))
  }

  @Test("Strangers are named by what they said, and closed", arguments: Connection.Kind.allCases)
  func strangers(over: Connection.Kind) throws {
    let hall = try Hall(over)
    for bytes in [
      Array("GET / HTTP/1.1\r\n".utf8), [0x16, 3, 1, 2, 0], [0x51, 0x45, 0x56, 0x4e], [0x47, 0x45],
    ] {
      let visitor = try hall.connect()
      Sockets.write(visitor, bytes)
      #expect(hall.next() == .stranger(.foreign(Array(bytes.prefix(4)))))
      #expect(Self.isClosed(visitor))
    }
    let broken = try hall.connect()
    Sockets.write(broken, Self.channel + [0xff])
    #expect(hall.next() == .stranger(.broken("its fifth byte")))
    #expect(Self.isClosed(broken))
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
      // A reset takes with it what had come.
      guard case .stranger(.closed(let count)) = hall.next() else {
        Issue.record("\(hall.arrivals.last!)")
        continue
      }
      #expect(count == 0 || count == 3)
    }
    Sockets.write(try hall.connect(), Self.main)
    #expect(hall.next() == .main)
    Sockets.write(silent[3], Self.channel)
    #expect(hall.next() == .channel)
    #expect(hall.arrivals.count == 22)
  }

  @Test("Who does not introduce himself in time is closed", arguments: Connection.Kind.allCases)
  func late(over: Connection.Kind) throws {
    let hall = try Hall(over, timeout: 0.2)
    let visitors = try (0..<3).map { _ in try hall.connect() }
    Sockets.write(visitors[1], Self.main.prefix(3))
    Sockets.write(visitors[2], Self.channel)
    // They are late in the order in which they came.
    #expect(hall.next() == .stranger(.silent(after: 0)))
    #expect(hall.next() == .stranger(.silent(after: 3)))
    #expect(hall.next() == .stranger(.alone))
    for visitor in visitors { #expect(Self.isClosed(visitor)) }
  }

  @Test(
    "Who was there before the main channel has a moment left to speak, and a channel that leaves is none",
    arguments: Connection.Kind.allCases)
  func early(over: Connection.Kind) throws {
    let hall = try Hall(over, timeout: 60)
    let (silent, partial, gone) = (try hall.connect(), try hall.connect(), try hall.connect())
    Sockets.write(partial, Self.channel.prefix(2))
    Sockets.write(gone, Self.channel)
    hall.close(gone)
    #expect(hall.next() == .stranger(.alone))
    Sockets.write(try hall.connect(), Self.main)
    let late = try hall.connect()
    #expect(hall.next() == .main)
    #expect(hall.next() == .stranger(.early))
    #expect(hall.next() == .stranger(.early))
    #expect(Self.isClosed(silent) && Self.isClosed(partial))
    // The one that came after it has all of its time.
    Sockets.write(late, Self.channel)
    #expect(hall.next() == .channel)
  }

  @Test(
    "A channel that came long before the main channel is none of its",
    arguments: Connection.Kind.allCases)
  func stale(over: Connection.Kind) throws {
    let hall = try Hall(over, mostLead: .milliseconds(200))
    let stale = try hall.connect()
    Sockets.write(stale, Self.channel + [1])
    Thread.sleep(forTimeInterval: 0.4)
    let (fresh, main) = (try hall.connect(), try hall.connect())
    Sockets.write(fresh, Self.channel + [2])
    Thread.sleep(forTimeInterval: 0.05)
    Sockets.write(main, Self.main)
    #expect(hall.next() == .main)
    #expect(hall.next() == .stranger(.alone))
    #expect(hall.next() == .channel)
    #expect(Self.isClosed(stale))
    #expect(try hall.sockets[1].bytes(5) == Self.channel + [2])
  }

  /// Whether the lobby has closed it, or does within 20 s.
  static func isClosed(_ visitor: Int32) -> Bool {
    var entry = pollfd(fd: visitor, events: Int16(POLLIN), revents: 0)
    var byte: [UInt8] = [0]
    return poll(&entry, 1, 20_000) == 1 && Sockets.read(visitor, &byte) == 0
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
    #expect(said[0] == .main)
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
  final class Hall {
    enum Said: Equatable {
      case main, channel, trouble, letter([UInt8]), stranger(Stranger)
    }

    private let listener: Listener
    private let lobby: Lobby
    private let threads = ThreadGroup()
    private let state = System.Monitor<(arrivals: [Lobby.Arrival], connections: Int)>(([], 0))
    private var visitors: Set<Int32> = []
    private var taken = 0
    private let folder: TemporaryFolder

    init(
      _ over: Connection.Kind, timeout: Double = 10, mostLead: Duration = .seconds(3),
      places: Int? = nil
    ) throws {
      folder = try TemporaryFolder()
      let endpoint =
        over == .tcp ? Endpoint.tcp(host: "127.0.0.1", port: 0) : .unix(path: folder("lobby"))
      listener = try Listener(on: endpoint, timeout: timeout)
      lobby = Lobby(listener, mostLead: mostLead, places: places, examine: Self.examine)
      try threads.start("lobby") { [lobby, state] in
        lobby.run { _ in
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

    /// - Parameter source: the address of 127.0.0.0/8 to come from.
    func connect(from source: String? = nil) throws -> Int32 {
      let descriptor =
        switch listener.endpoint {
        case .tcp(_, let port): Sockets.connect(port: Int(port), from: source)
        case .unix(let path): Sockets.connect(unix: path)
        case .fd: nil as Int32?
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
        .map(Self.said)
    }

    private static func said(_ arrival: Lobby.Arrival) -> Said {
      switch arrival {
      case .main: .main
      case .channel: .channel
      case .letter(_, let letter): .letter(letter)
      case .stranger(let stranger, _): .stranger(stranger)
      case .trouble: .trouble
      }
    }

    /// Whether one such has arrived, whatever came before, or does within 20 s.
    func waits(for said: Said, _ seconds: Double = 20) -> Bool {
      state.wait(seconds: seconds) { state in
        state.arrivals.contains { Self.said($0) == said } ? true : nil
      } ?? false
    }

    /// Whether one such has arrived.
    func has(_ said: Said) -> Bool { waits(for: said, 0) }

    /// Those that have arrived and are somebody, in order.
    var sockets: [Socket] {
      arrivals.compactMap { arrival in
        switch arrival {
        case .main(let socket), .channel(let socket), .letter(let socket, _): socket
        case .stranger, .trouble: nil
        }
      }
    }

    /// An introduction is its magic, and 0xff behind it spoils it; a letter says its size.
    private static func examine(_ bytes: UnsafeRawBufferPointer) -> Lobby.Verdict {
      let first = Array(bytes.prefix(4))
      if first == LobbyTests.letter {
        guard bytes.count >= 6 else { return .undecided(needs: 6) }
        return .letter(size: Int(bytes[4]) << 8 | Int(bytes[5]))
      }
      guard
        [LobbyTests.main, LobbyTests.channel, LobbyTests.letter].contains(where: {
          $0.starts(with: first)
        })
      else {
        return .stranger(.foreign(first))
      }
      if first.count < 4 { return .undecided(needs: 4) }
      if bytes.count > 4, bytes[4] == 0xff { return .stranger(.broken("its fifth byte")) }
      return first == LobbyTests.main ? .main : .channel
    }
  }
}
