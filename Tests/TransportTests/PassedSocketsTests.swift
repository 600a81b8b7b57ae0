import Foundation
import TestSupport
import Testing
import Transport

/// `fd:N`: in these tests the numbers of this process's own descriptors.
@Suite("Passed sockets")
struct PassedSocketsTests {
  /// Something that is no socket of a kind that can be passed.
  enum Wrong: CaseIterable {
    case closed, pipe, file, datagram, seqpacket, unconnected

    func open() throws -> [Int32] {
      var ends: [Int32] = [-1, -1]
      switch self {
      case .closed: return []
      case .pipe:
        try #require(Glibc.pipe(&ends) == 0)
        return ends
      case .file: return [Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)]
      case .datagram: return [socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)]
      case .seqpacket:
        try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
        return ends
      case .unconnected: return [socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)]
      }
    }

    var words: String {
      switch self {
      case .closed: "is not open"
      case .pipe, .file: "is no socket"
      case .datagram, .seqpacket: "is no stream socket"
      case .unconnected: "neither listens nor is connected"
      }
    }
  }

  /// What can be done with passed sockets.
  enum Use: CaseIterable {
    case listen, connect, checkListening, checkConnected

    func attempt(_ endpoint: Endpoint) throws {
      switch self {
      case .listen: _ = try Listener(on: endpoint, timeout: 1)
      case .connect: _ = try Socket.connect(to: endpoint, timeout: 1)
      case .checkListening: try endpoint.passed?.checkListening()
      case .checkConnected: try endpoint.passed?.checkConnected()
      }
    }
  }

  @Test("What is no such socket is refused, with its number", arguments: Wrong.allCases)
  func wrong(_ wrong: Wrong) throws {
    let descriptors = try wrong.open()
    defer { for descriptor in descriptors { close(descriptor) } }
    let number = descriptors.first ?? 1_000_000
    let endpoint = try Endpoint(parsing: "fd:\(number)")
    for use in Use.allCases {
      let error = #expect(throws: TransportError.self) { try use.attempt(endpoint) }
      #expect(error?.kind == .badURI)
      #expect(error?.message.hasPrefix("fd:\(number): descriptor \(number) ") == true, "\(error!)")
      #expect(error?.message.contains(wrong.words) == true, "\(error!)")
    }
    // It stays whose it was.
    for descriptor in descriptors { #expect(fcntl(descriptor, F_GETFD) >= 0) }
  }

  @Test("A listening socket cannot be connected with, and only one can be listened on")
  func mistaken() throws {
    let (listener, _) = try Sockets.listen()
    let (other, _) = try Sockets.listen()
    let pair = try Self.pair()
    defer { for descriptor in [listener, other, pair.ours, pair.theirs] { close(descriptor) } }
    let mixed = try Endpoint(parsing: "fd:\(pair.ours),\(listener)")
    let refused = #expect(throws: TransportError.self) { try Socket.connect(to: mixed, timeout: 1) }
    #expect(refused?.kind == .badURI)
    #expect(refused?.message.contains("descriptor \(listener) listens") == true, "\(refused!)")
    let both = try Endpoint(parsing: "fd:\(listener),\(other)")
    let many = #expect(throws: TransportError.self) { try Listener(on: both, timeout: 1) }
    #expect(many?.kind == .badURI)
    #expect(
      many?.message.contains("one socket is listened on, and these are 2") == true, "\(many!)")
  }

  @Test("A connection that was reset before we looked has lost its peer: that is no usage error")
  func lost() throws {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let descriptor = try #require(Sockets.connect(port: port))
    defer { close(descriptor) }
    var linger = linger(l_onoff: 1, l_linger: 0)
    let peer = Sockets.accept(listener)
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    close(peer)
    let endpoint = try Endpoint(parsing: "fd:\(descriptor)")
    #expect(
      kind { () throws(TransportError) in _ = try Socket.connect(to: endpoint, timeout: 1) }
        == .unreachable)
  }

  @Test("Once looked at, they are close-on-exec; connections block, and listening sockets do not")
  func flags() throws {
    let (listener, _) = try Sockets.listen()
    let pair = try Self.pair()
    defer { for descriptor in [listener, pair.ours, pair.theirs] { close(descriptor) } }
    _ = fcntl(listener, F_SETFD, 0)
    _ = fcntl(pair.ours, F_SETFD, 0)
    _ = fcntl(pair.ours, F_SETFL, O_NONBLOCK)
    let (listening, connected) = (
      try Endpoint(parsing: "fd:\(listener)"), try Endpoint(parsing: "fd:\(pair.ours)")
    )
    try listening.passed?.checkListening()
    try connected.passed?.checkListening()
    try listening.passed?.checkListening(channels: 2)
    try connected.passed?.checkListening(channels: 0)
    let error = #expect(throws: TransportError.self) {
      try connected.passed?.checkListening(channels: 2)
    }
    #expect(error?.kind == .badURI)
    for descriptor in [listener, pair.ours] {
      #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }
    #expect(fcntl(listener, F_GETFL) & O_NONBLOCK != 0)
    #expect(fcntl(pair.ours, F_GETFL) & O_NONBLOCK == 0)
  }

  @Test("Connections are used in their order, and then there are none", arguments: [1, 2, 5])
  func order(count: Int) throws {
    let pairs = try (0..<count).map { _ in try Self.pair() }
    defer { for pair in pairs { close(pair.theirs) } }
    // Not the order of the numbers.
    let uri = "fd:" + pairs.reversed().map { "\($0.ours)" }.joined(separator: ",")
    let endpoint = try Endpoint(parsing: uri)
    try endpoint.passed?.checkConnected(count: count)
    for needed in [count - 1, count + 1] {
      let error = #expect(throws: TransportError.self) {
        try endpoint.passed?.checkConnected(count: needed)
      }
      #expect(error?.message.hasPrefix("\(uri): \(count) given, and \(needed) needed") == true)
    }
    var sockets: [Socket] = []
    for pair in pairs.reversed() {
      let socket = try Socket.connect(to: endpoint, timeout: 1)
      #expect(socket.peer == "fd:\(pair.ours)")
      Sockets.write(pair.theirs, [UInt8(sockets.count), 7])
      #expect(try socket.bytes(2) == [UInt8(sockets.count), 7])
      sockets.append(socket)
    }
    let error = #expect(throws: TransportError.self) {
      try Socket.connect(to: endpoint, timeout: 1)
    }
    #expect(error?.kind == .badURI)
    #expect(error?.message.contains("\(count) given, and \(count + 1) needed") == true, "\(error!)")
    // They are the sockets' now, and end with them.
    sockets = []
    var byte: [UInt8] = [0]
    for pair in pairs { #expect(Sockets.read(pair.theirs, &byte) == 0) }
  }

  @Test("Who leaves them closes those that nobody has taken, and has none any more")
  func leave() throws {
    let pairs = try (0..<3).map { _ in try Self.pair() }
    defer { for pair in pairs { close(pair.theirs) } }
    let endpoint = try Endpoint(
      parsing: "fd:" + pairs.map { "\($0.ours)" }.joined(separator: ","))
    // Nobody knows what they are before they were looked at.
    endpoint.passed?.leave()
    for pair in pairs { #expect(fcntl(pair.ours, F_GETFD) >= 0) }
    let socket = try Socket.connect(to: endpoint, timeout: 1)
    endpoint.passed?.leave()
    var byte: [UInt8] = [0]
    for pair in pairs.dropFirst() { #expect(Sockets.read(pair.theirs, &byte) == 0) }
    #expect(throws: TransportError.self) { try Socket.connect(to: endpoint, timeout: 1) }
    try socket.write([5])
    #expect(Sockets.read(pairs[0].theirs, &byte) == 1)
  }

  /// Two ends of one connection.
  static func pair() throws -> (ours: Int32, theirs: Int32) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (ends[0], ends[1])
  }
}
