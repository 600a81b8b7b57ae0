import Foundation
import Glibc
import System
import TLS
import TestSupport
import Testing
import Transport

@Suite("Connections with TLS")
struct TLSTests {
  /// Credentials of both sides, from one authority.
  private struct Sides {
    let client: TLSCredentials
    let server: TLSCredentials

    init() throws {
      let folder = try TemporaryFolder()
      try CertificateAuthority().fill(folder)
      client = try TLSCredentials(in: folder.path, for: .connecting)
      server = try TLSCredentials(in: folder.path, for: .listening)
      folder.remove()
    }
  }

  /// A lobby with TLS in front of it, in a thread of its own.
  private final class Hall {
    let port: Int
    private let lobby: Lobby
    private let threads = ThreadGroup()
    private let state = System.Monitor<[Lobby.Arrival]>([])
    private var taken = 0

    init(_ server: TLSCredentials, timeout: Double = 10) throws {
      let listener = try Listener(
        on: .tcp(host: "127.0.0.1", port: 0), timeout: timeout, tls: server)
      guard case .tcp(_, let port) = listener.endpoint else { preconditionFailure("it is TCP") }
      self.port = Int(port)
      lobby = Lobby(listener) { bytes in
        switch bytes.first {
        case nil: .undecided(needs: 1)
        case LobbyTests.main[0]:
          bytes.count < 4 ? .undecided(needs: 4) : .main
        case LobbyTests.channel[0]: .channel
        case LobbyTests.letter[0]:
          bytes.count < 6 ? .undecided(needs: 6) : .letter(size: Int(bytes[4]) << 8 | Int(bytes[5]))
        default: .stranger(.foreign([]))
        }
      }
      try threads.start("lobby") { [lobby, state] in
        lobby.run { arrival in
          state.update { $0.append(arrival) }
        }
      }
    }

    deinit {
      lobby.close()
      threads.joinAll()
    }

    func next() -> Lobby.Arrival? {
      taken += 1
      let count = taken
      return state.wait(seconds: 20) { $0.count >= count ? $0[count - 1] : nil }
    }

    /// Whether a main channel has arrived, or does within 20 s, whatever else comes.
    func waitForMain() -> Bool {
      state.wait(seconds: 20) { arrivals in
        arrivals.contains { if case .main = $0 { true } else { false } } ? true : nil
      } ?? false
    }

    func connect(_ client: TLSCredentials, timeout: Double = 10) throws(TransportError) -> Socket {
      try Socket.connect(
        to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: timeout, tls: client)
    }

    /// Makes a connection, which arrives as a main channel.
    func pair(_ client: TLSCredentials) throws -> (near: Socket, far: Socket) {
      let far = try connect(client)
      try far.write(LobbyTests.main)
      guard case .main(let near) = next() else { throw LabError("no main channel") }
      #expect(try near.bytes(4) == LobbyTests.main)
      return (near, far)
    }
  }

  @Test("The lobby sees what is said, not how: magics byte by byte, and letters over many records")
  func lobby() throws {
    let sides = try Sides()
    let hall = try Hall(sides.server)
    let (one, two) = (try hall.connect(sides.client), try hall.connect(sides.client))
    try two.write(LobbyTests.channel + [1, 2, 3])
    for byte in LobbyTests.main {
      try one.write([byte])
      usleep(5000)
    }
    guard case .main(let main) = hall.next() else { throw LabError("no main channel") }
    guard case .channel(let channel) = hall.next() else { throw LabError("no channel") }
    try one.write([9])
    #expect(try main.bytes(5) == LobbyTests.main + [9])
    #expect(try channel.bytes(7) == LobbyTests.channel + [1, 2, 3])
    #expect(main.encryption == "TLS1.3, AES-128-GCM" && one.encryption == main.encryption)
    let letter =
      LobbyTests.letter + [0xff, 0xf0] + (6..<0xfff0).map { UInt8(truncatingIfNeeded: $0) }
    let three = try hall.connect(sides.client)
    for start in stride(from: 0, to: letter.count, by: 9000) {
      try three.write(Array(letter[start..<min(start + 9000, letter.count)]))
    }
    try three.write([1, 2, 3])
    guard case .letter(let socket, let bytes) = hall.next() else { throw LabError("no letter") }
    #expect(bytes == letter)
    #expect(try socket.bytes(3) == [1, 2, 3])
  }

  @Test("Whoever is slow in his handshake, or has none, holds up nobody, and is let go in time")
  func slow() throws {
    let (sides, others) = (try Sides(), try Sides())
    let hall = try Hall(sides.server, timeout: 1)
    // As many as would fill a lobby's threads, if it had some: silent, in the middle, or in clear.
    let silent = (0..<20).compactMap { _ in Sockets.connect(port: hall.port) }
    let half = (0..<20).compactMap { _ in Sockets.connect(port: hall.port) }
    for one in half { Sockets.write(one, [0x16, 3, 1, 0, 200, 1]) }
    let plain = try #require(Sockets.connect(port: hall.port))
    Sockets.write(plain, LobbyTests.main)
    guard case .stranger(.plain, _) = hall.next() else { throw LabError("it was not told") }
    let start = ContinuousClock.now
    _ = try hall.pair(sides.client)
    #expect(start.duration(to: .now) < .seconds(1), "nobody was waited for")
    let error = #expect(throws: TransportError.self) { try hall.connect(others.client) }
    #expect(error?.kind == .untrusted)
    guard case .stranger(.untrusted(let why), _) = hall.next() else { throw LabError("not told") }
    #expect(why.hasPrefix("it does not accept this side: "), "\(why)")
    for _ in 0..<40 {
      guard case .stranger(let stranger, _) = hall.next() else { throw LabError("one is missing") }
      #expect([.silent(after: 0), .early].contains(stranger), "\(stranger)")
    }
    for one in silent + half + [plain] { Glibc.close(one) }
  }

  @Test(
    "Another host's handshakes, begun by the hundred, broken off or a byte at a time, cost it alone"
  )
  func crowd() throws {
    let sides = try Sides()
    let hall = try Hall(sides.server, timeout: 60)
    let hello = try Self.clientHello(sides.client)
    let other = "127.0.0.2"
    var visitors: [Int32] = []
    defer { for visitor in visitors { Glibc.close(visitor) } }
    func come(_ bytes: some Collection<UInt8>) throws {
      let visitor = try #require(Sockets.connect(port: hall.port, from: other))
      visitors.append(visitor)
      Sockets.write(visitor, bytes)
    }
    // One that has come through it and says nothing.
    let quiet = try hall.connect(sides.client)
    for _ in 0..<50 { try come([]) }
    for count in 0..<50 { try come(hello.prefix(count * hello.count / 50)) }
    let start = ContinuousClock.now
    let whole = visitors.count..<visitors.count + 400
    for _ in whole { try come(hello) }
    let dribbling = visitors[..<50]
    let slow = ThreadGroup()
    try slow.start("slow") {
      for index in 0..<20 {
        for visitor in dribbling { Sockets.write(visitor, [hello[index]]) }
        usleep(10_000)
      }
    }
    // The source does not wait for them.
    let socket = try hall.connect(sides.client)
    try socket.write(LobbyTests.main)
    #expect(hall.waitForMain())
    // Who has been answered has cost a signature.
    let answered = visitors[whole].count { visitor in
      var entry = pollfd(fd: visitor, events: Int16(POLLIN), revents: 0)
      return poll(&entry, 1, 0) == 1
    }
    let seconds = start.duration(to: .now) / .seconds(1)
    #expect(Double(answered) <= 300 + 30 * seconds + 1, "\(answered) in \(seconds) s")
    slow.joinAll()
    withExtendedLifetime(quiet) {}
  }

  /// What a client says first.
  private static func clientHello(_ client: TLSCredentials) throws -> [UInt8] {
    let (listener, port) = try Sockets.listen()
    defer { Glibc.close(listener) }
    let threads = ThreadGroup()
    try threads.start("client") {
      _ = try? Socket.connect(
        to: .tcp(host: "127.0.0.1", port: UInt16(port)), timeout: 10, tls: client)
    }
    let accepted = Sockets.accept(listener)
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = Sockets.read(accepted, &bytes)
    Glibc.close(accepted)
    threads.joinAll()
    try #require(count > 100 && bytes[0] == 0x16)
    return Array(bytes[..<count])
  }

  @Test("Pieces come out as they went in, however they lie and however long they are")
  func pieces() throws {
    let sides = try Sides()
    let hall = try Hall(sides.server)
    let (near, far) = try hall.pair(sides.client)
    var generator = SeededGenerator(seed: 14)
    let data = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    for _ in 0..<5 {
      func cut() -> [Int] {
        var lengths: [Int] = []
        var left = data.count
        while left > 0 {
          let most = [1, 64, 4096, 16384, 16385, 100_000].randomElement(using: &generator)!
          lengths.append(min(left, Int.random(in: 0...most, using: &generator)))
          left -= lengths.last!
        }
        return lengths
      }
      let (sent, taken) = (cut(), cut())
      let got = UnsafeMutableRawBufferPointer.allocate(byteCount: data.count, alignment: 16)
      defer { got.deallocate() }
      nonisolated(unsafe) let target = got
      inThreads(2) { index in
        do {
          if index == 0 {
            // Read only; it lives as long as the call.
            try data.withUnsafeBytes { bytes in
              try Self.withPieces(UnsafeMutableRawBufferPointer(mutating: bytes), sent) {
                try far.write(pieces: $0)
              }
            }
          } else {
            try Self.withPieces(target, taken) { try near.fill(pieces: $0) }
          }
        } catch { Issue.record(error) }
      }
      #expect(got.elementsEqual(data))
    }
  }

  private static func withPieces(
    _ bytes: UnsafeMutableRawBufferPointer, _ lengths: [Int],
    _ body: (UnsafeMutableBufferPointer<iovec>) throws -> Void
  ) throws {
    let pieces = UnsafeMutableBufferPointer<iovec>.allocate(capacity: lengths.count)
    defer { pieces.deallocate() }
    var start = 0
    for (index, length) in lengths.enumerated() {
      // The lengths add up to what there is.
      pieces.initializeElement(
        at: index, to: iovec(iov_base: bytes.baseAddress! + start, iov_len: length))
      start += length
    }
    try body(pieces)
  }

  @Test("A relay's splice passes bytes on where one side, or both, have TLS")
  func splice() throws {
    let sides = try Sides()
    func hall(_ sides: Sides) throws -> (near: Socket, far: Socket) {
      try Hall(sides.server).pair(sides.client)
    }
    let data = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    for (fromTLS, toTLS) in [(true, false), (false, true), (true, true)] {
      let splice = try Splice()
      let (clearIn, clearOut) = (try Connection(.tcp), try Connection(.tcp))
      let hidden = (try hall(sides), try hall(sides))
      let source = fromTLS ? hidden.0.near : clearIn.socket
      let target = toTLS ? hidden.1.near : clearOut.socket
      let (peer, farIn, farOut) = (clearIn.peer, hidden.0.far, hidden.1.far)
      let writer = ThreadGroup()
      try writer.start("writer") {
        if fromTLS { try? farIn.write(data) } else { Sockets.write(peer, data) }
      }
      let mover = ThreadGroup()
      nonisolated(unsafe) let moving = splice
      try mover.start("mover") {
        do { try moving.move(data.count, from: source, to: target) } catch { Issue.record(error) }
      }
      let got = toTLS ? try farOut.bytes(data.count) : clearOut.receive(data.count)
      #expect(got == data, "\(fromTLS) \(toTLS)")
      writer.joinAll()
      mover.joinAll()
    }
  }

  @Test("How a connection ends is told, and an end that TLS has not said is taken where it may be")
  func ends() throws {
    let sides = try Sides()
    for accepts in [false, true] {
      let hall = try Hall(sides.server)
      let (near, far) = try hall.pair(sides.client)
      if accepts { near.acceptAbruptEnd() }
      far.cut()
      if accepts {
        #expect(try near.bytes(1) == nil)
      } else {
        #expect(kind { () throws(TransportError) in _ = try near.bytes(1) } == .closed)
      }
      // Inside something it may be nowhere.
      let (other, end) = try Hall(sides.server).pair(sides.client)
      other.acceptAbruptEnd()
      try end.write([1])
      end.cut()
      #expect(kind { () throws(TransportError) in _ = try other.bytes(2) } == .closed)
      // It is passed on as it has come.
      let (third, last) = try Hall(sides.server).pair(sides.client)
      third.finishWriting(as: near)
      if accepts {
        #expect(kind { () throws(TransportError) in _ = try last.bytes(1) } == .closed)
      } else {
        #expect(try last.bytes(1) == nil)
      }
    }
  }

  @Test("Who listens without a host's name is named by the operator")
  func names() throws {
    let sides = try Sides()
    #expect(try sides.client.name(at: .tcp(host: "a.example", port: 1)) == "a.example")
    #expect(try sides.server.name(at: .unix(path: "/x")) == nil)
    let error = #expect(throws: TransportError.self) {
      try sides.client.name(at: .unix(path: "/x"))
    }
    #expect(error?.kind == .badURI && error?.message.contains("--tls-hostname") == true)
  }
}
