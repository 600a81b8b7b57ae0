import Foundation
import System
import TestSupport
import Testing
import Transport

/// Listeners on sockets that were passed, in front of a lobby as always.
@Suite("Listening on passed sockets")
struct PassedListenerTests {
  @Test(
    "Accepted from as any; when it ends it still listens for whoever has it too",
    arguments: Connection.Kind.allCases)
  func listening(over: Connection.Kind) throws {
    let folder = try TemporaryFolder()
    let (descriptor, port) =
      over == .tcp
      ? try Sockets.listen() : (try Sockets.listen(unix: folder("socket")), 0)
    defer { close(descriptor) }
    func connect() throws -> Int32 {
      try #require(
        over == .tcp ? Sockets.connect(port: port) : Sockets.connect(unix: folder("socket")))
    }
    // Whoever was waiting already is the first; and then once more, by the next process's listener.
    for round in 0..<2 {
      let visitors = try (0..<2).map { _ in try connect() }
      defer { for visitor in visitors { close(visitor) } }
      // The listener's own, and it closes it.
      let uri = "fd:\(fcntl(descriptor, F_DUPFD_CLOEXEC, 3))"
      let hall = try Hall(Endpoint(parsing: uri))
      #expect("\(hall.endpoint)" == uri)
      for visitor in visitors { Sockets.write(visitor, [UInt8(round)]) }
      let sockets = [hall.next(), hall.next()]
      #expect(try sockets.allSatisfy { try $0?.bytes(1) == [UInt8(round)] })
      let late = try connect()
      Sockets.write(late, [9])
      #expect(try hall.next()?.bytes(1) == [9])
      close(late)
      hall.end()
      #expect(hall.waitOver())
    }
    close(try connect())
    if over == .unix {
      #expect(FileManager.default.fileExists(atPath: folder("socket")), "the file is not ours")
    }
  }

  @Test("Closing wakes who waits for a connection that never comes", arguments: [true, false])
  func wake(listens: Bool) throws {
    let pair = try PassedSocketsTests.pair()
    defer { close(pair.theirs) }
    if listens { close(pair.ours) }
    let hall = try Hall(
      Endpoint(parsing: "fd:\(listens ? try Sockets.listen().descriptor : pair.ours)"))
    Thread.sleep(forTimeInterval: 0.05)
    hall.end()
    #expect(hall.waitOver())
  }

  @Test("What somebody else has shut down ends it")
  func shutDown() throws {
    let (descriptor, _) = try Sockets.listen()
    defer { close(descriptor) }
    let hall = try Hall(Endpoint(parsing: "fd:\(fcntl(descriptor, F_DUPFD_CLOEXEC, 3))"))
    shutdown(descriptor, Int32(SHUT_RDWR))
    #expect(hall.waitOver())
  }

  @Test(
    "A connection is the first and the last: it is over with it",
    arguments: Connection.Kind.allCases)
  func connection(over: Connection.Kind) throws {
    let (ours, theirs) = over == .tcp ? try Self.tcp() : try PassedSocketsTests.pair()
    defer { close(theirs) }
    // What came before it was passed is there too.
    Sockets.write(theirs, [1, 2])
    let hall = try Hall(Endpoint(parsing: "fd:\(ours)"))
    let socket = try #require(hall.next())
    #expect(hall.waitOver())
    #expect(try socket.bytes(2) == [1, 2])
    try socket.write([3])
    var byte: [UInt8] = [0]
    #expect(Sockets.read(theirs, &byte) == 1 && byte == [3])
  }

  @Test("A connection that says nothing, or leaves, is turned away, and nobody else is waited for")
  func silent() throws {
    for leaves in [true, false] {
      let pair = try PassedSocketsTests.pair()
      if leaves { close(pair.theirs) }
      let hall = try Hall(Endpoint(parsing: "fd:\(pair.ours)"), timeout: 0.1)
      #expect(hall.waitOver())
      #expect(hall.strangers == [leaves ? .closed(after: 0) : .silent(after: 0)])
      if !leaves { close(pair.theirs) }
    }
  }

  @Test("A socket is listened on once; one that nobody accepted from is closed with its listener")
  func once() throws {
    let pair = try PassedSocketsTests.pair()
    defer { close(pair.theirs) }
    let endpoint = try Endpoint(parsing: "fd:\(pair.ours)")
    do {
      let listener = try Listener(on: endpoint, timeout: 1)
      let error = #expect(throws: TransportError.self) { try Listener(on: endpoint, timeout: 1) }
      #expect(error?.message.contains("it is in use") == true)
      withExtendedLifetime(listener) {}
    }
    var byte: [UInt8] = [0]
    #expect(Sockets.read(pair.theirs, &byte) == 0)
  }

  private static func tcp() throws -> (ours: Int32, theirs: Int32) {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let theirs = try #require(Sockets.connect(port: port))
    return (Sockets.accept(listener), theirs)
  }

  /// A lobby where whoever says a word is a main channel.
  private final class Hall {
    private let lobby: Lobby
    private let threads = ThreadGroup()
    private let state = System.Monitor<(arrivals: [Lobby.Arrival], isOver: Bool)>(([], false))
    private var taken = 0
    let endpoint: Endpoint

    init(_ endpoint: Endpoint, timeout: Double = 10) throws {
      let listener = try Listener(on: endpoint, timeout: timeout)
      self.endpoint = listener.endpoint
      lobby = Lobby(listener) { $0.isEmpty ? .undecided(needs: 1) : .main }
      try threads.start("lobby") { [lobby, state] in
        lobby.run { arrival in state.update { $0.arrivals.append(arrival) } }
        state.update { $0.isOver = true }
      }
    }

    deinit {
      lobby.close()
      threads.joinAll()
    }

    func end() { lobby.close() }

    /// Whether it has come to its end, or does within 20 s.
    func waitOver() -> Bool { state.wait(seconds: 20) { $0.isOver ? true : nil } ?? false }

    /// The next main channel.
    func next() -> Socket? {
      taken += 1
      let count = taken
      let arrival = state.wait(seconds: 20) {
        $0.arrivals.count >= count ? $0.arrivals[count - 1] : nil
      }
      guard case .main(let socket)? = arrival else { return nil }
      return socket
    }

    var strangers: [Stranger] {
      state.read { $0.arrivals }.compactMap { arrival in
        if case .stranger(let stranger, _) = arrival { stranger } else { nil }
      }
    }
  }
}
