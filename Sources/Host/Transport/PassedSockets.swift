import Glibc
import Synchronization
import System

/// Stream sockets that whoever started this process has passed to it, by their numbers: `fd:N[,M…]`.
///
/// A number means what it meant at the start only until something else is opened, so the numbers
/// are looked at once, and that should be early: by ``checkListening(channels:)`` or
/// ``checkConnected(count:)``. From then on the sockets are close-on-exec: no child of ours has
/// them. Each is used once, and belongs to whoever uses it.
public final class PassedSockets: Equatable, Sendable {
  private struct State {
    /// Whether each of them listens; nil while nobody has looked.
    var listens: [Bool]?
    /// How many are in somebody's hands, from the first on.
    var taken = 0
  }

  /// The descriptors, in the order in which they are used.
  public let numbers: [Int32]
  private let state = Mutex(State())

  /// Parses what is behind `fd:`.
  ///
  /// - Parameter text: all of the URI, for messages.
  init(parsing list: Substring, of text: String) throws(TransportError) {
    var numbers: [Int32] = []
    for word in list.split(separator: ",", omittingEmptySubsequences: false) {
      // As it is printed: no sign, no space.
      guard let number = Int32(word), number >= 0, "\(number)" == word else {
        throw TransportError(
          .badURI, "'\(text)': '\(word)' is no descriptor's number: expected fd:N or fd:N,M…")
      }
      guard number > STDERR_FILENO else {
        throw TransportError(
          .badURI, "'\(text)': 0, 1 and 2 are stdin, stdout and stderr: pass it as 3 or above")
      }
      guard !numbers.contains(number) else {
        throw TransportError(.badURI, "'\(text)' has descriptor \(number) twice")
      }
      numbers.append(number)
    }
    self.numbers = numbers
  }

  /// Whether they are the same numbers.
  public static func == (a: PassedSockets, b: PassedSockets) -> Bool { a.numbers == b.numbers }

  /// The URI.
  var uri: String { "fd:" + numbers.map(String.init).joined(separator: ",") }

  // MARK: Checking

  /// Refuses what cannot be accepted from: it must be one socket, which listens or is connected.
  ///
  /// - Parameter channels: how many multifd channels will come; nil: that shows later.
  public func checkListening(channels: Int? = nil) throws(TransportError) {
    let listens = try look()
    guard listens.count == 1 else {
      throw bad("one socket is listened on, and these are \(listens.count)")
    }
    guard listens[0] || channels ?? 0 == 0 else {
      throw bad("a connection is the only one: multifd channels need a socket that listens")
    }
  }

  /// Refuses what is not connected.
  ///
  /// - Parameter count: how many connections are needed; nil: that shows later.
  public func checkConnected(count: Int? = nil) throws(TransportError) {
    let listens = try look()
    if let index = listens.firstIndex(of: true) {
      throw bad("descriptor \(numbers[index]) listens: a connected socket is needed")
    }
    guard let count, count != numbers.count else { return }
    throw bad(
      "\(numbers.count) given, and \(count) needed: the main channel's connection, "
        + "then one for each multifd channel")
  }

  /// Refuses what is to be used here and there.
  public func checkApart(from others: PassedSockets?) throws(TransportError) {
    guard let number = numbers.first(where: { others?.numbers.contains($0) == true }) else {
      return
    }
    throw bad("descriptor \(number) is one of \(others?.uri ?? "") too")
  }

  /// Whether one of them listens where others than this machine can connect.
  func isOpen() throws(TransportError) -> Bool {
    zip(numbers, try look()).contains { $1 && Reach.isOpen($0) }
  }

  /// Whether each of them listens. The first look settles it, and makes them as they have to be.
  private func look() throws(TransportError) -> [Bool] {
    try state.withLock { state throws(TransportError) in
      if let listens = state.listens { return listens }
      var listens: [Bool] = []
      for number in numbers { listens.append(try self.listens(number)) }
      for (number, listens) in zip(numbers, listens) {
        _ = fcntl(number, F_SETFD, FD_CLOEXEC)
        // A connection is read and written by a thread of its own; a listener must not wait for a
        // connection that somebody else has accepted. Whoever has it too gets that with it.
        let flags = fcntl(number, F_GETFL)
        _ = fcntl(number, F_SETFL, listens ? flags | O_NONBLOCK : flags & ~O_NONBLOCK)
      }
      state.listens = listens
      return listens
    }
  }

  /// Refuses what is no stream socket, or does neither listen nor have a peer.
  private func listens(_ number: Int32) throws(TransportError) -> Bool {
    let what = "descriptor \(number)"
    guard fcntl(number, F_GETFD) >= 0 else { throw bad("\(what) is not open") }
    guard let type = Self.option(number, SO_TYPE) else { throw bad("\(what) is no socket") }
    guard type == Int32(SOCK_STREAM.rawValue) else { throw bad("\(what) is no stream socket") }
    if Self.option(number, SO_ACCEPTCONN) == 1 { return true }
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let isConnected = withUnsafeMutablePointer(to: &address) { pointer in
      // sockaddr_storage is made to be looked at as any address, and lives as long as this closure.
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getpeername(number, $0, &length) == 0
      }
    }
    if isConnected { return false }
    if let error = Self.option(number, SO_ERROR), error != 0 {
      let reason = SystemError("connection", errno: error).reason
      throw TransportError(.unreachable, "\(uri): \(what) has lost its peer (\(reason))")
    }
    throw bad("\(what) is a socket that neither listens nor is connected")
  }

  private static func option(_ number: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(number, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
  }

  private func bad(_ why: String) -> TransportError { TransportError(.badURI, "\(uri): \(why)") }

  // MARK: Using

  /// The socket that is accepted from, and whether it listens.
  func takeListening() throws(TransportError) -> (descriptor: Int32, listens: Bool) {
    try checkListening()
    return try state.withLock { state throws(TransportError) in
      guard state.taken == 0 else { throw bad("it is in use") }
      state.taken = 1
      return (numbers[0], state.listens == [true])
    }
  }

  /// The next connection.
  func takeConnected() throws(TransportError) -> Int32 {
    try checkConnected()
    return try state.withLock { state throws(TransportError) in
      guard state.taken < numbers.count else {
        throw bad("\(numbers.count) given, and \(numbers.count + 1) needed: all are in use")
      }
      defer { state.taken += 1 }
      return numbers[state.taken]
    }
  }

  /// Closes what is in nobody's hands: in a process that has it only because another has. A
  /// connection does not end while anybody has it open.
  public func leave() {
    state.withLock { state in
      guard state.listens != nil else { return }
      for number in numbers[state.taken...] { close(number) }
      state.taken = numbers.count
    }
  }

  /// What listens, as `/proc/PID/fd` names it: `socket:[INODE]`. Others may have it too, so it is
  /// closed, and never shut down. To be asked after it was checked, and before ``leave()``.
  public var listening: Set<String> {
    state.withLock { state in
      guard let listens = state.listens, state.taken == 0 else { return [] }
      return Set(
        zip(numbers, listens).filter(\.1).compactMap { number, _ in
          var status = stat()
          return fstat(number, &status) == 0 ? "socket:[\(status.st_ino)]" : nil
        })
    }
  }
}
